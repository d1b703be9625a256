"""Suites: pre-train once, evaluate many, end in a table (:mod:`mixae.suite.main`)."""
