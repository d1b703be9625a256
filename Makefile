# make demo   build .venv and run the demo on digit scenes
# make test   build .venv and run the tests that take seconds
#
# PYTHON=/path/to/python3.12 names the interpreter that .venv is made with; otherwise the first of
# python3.11, python3.12 and python3 that fits. ARGS=... is handed on to the program.

PY := .venv/bin/python
ARGS ?=
# Files of tests are shared among the cores.
CORES := -n auto --maxprocesses 4 --dist loadfile
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-quick test test-all lint format tables docs clean clean-env

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12

setup:  ## build .venv and install everything; returns at once if it is complete
	@sh tools/setup.sh

demo: setup  ## pre-train and evaluate on digit scenes; results in work_dirs/demo/
	@$(PY) tools/run_suite.py configs/suites/demo.py $(ARGS)

demo-quick: setup  ## one small run of each kind; results in work_dirs/demo_quick/
	@$(PY) tools/run_suite.py configs/suites/demo_quick.py $(ARGS)

test: setup  ## the tests, without the slow ones
	@$(PY) -m pytest $(CORES) -m "not slow" $(ARGS)

test-all: setup  ## all tests
	@$(PY) -m pytest $(CORES) $(ARGS)

lint: setup  ## ruff (errors, import order, format) and import-linter
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@.venv/bin/lint-imports

format: setup  ## let ruff correct the style
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

tables: setup  ## the tables in docs/, the model index files and the claims page, from the records
	@$(PY) docs/tables.py

docs:  ## the docs site in docs/_build/html; its own environment is .venv-docs
	@test -e .venv-docs/complete || { $${PYTHON:-python3} -m venv .venv-docs && \
	    .venv-docs/bin/pip install -q -r requirements/docs.txt && touch .venv-docs/complete; }
	@.venv-docs/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

clean:  ## remove caches and build outputs; keeps .venv and work_dirs
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

clean-env: clean  ## remove .venv too
	@rm -rf .venv
