"""Suites: pre-train once, evaluate many, end in a table.

- ``read``: a suite's file, checked; ``plan``: the runs that it consists of;
- ``state``: its work directory: what is done, has changed, is at work;
- ``run``: from a suite to its table; ``processes`` starts, watches and ends the runs, ``slurm``
  hands them to a cluster, ``progress`` says how long they take, ``checks`` what came out, in words.
"""
