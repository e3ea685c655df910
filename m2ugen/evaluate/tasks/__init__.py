"""Scoring of a system's outputs: a file per task, each a function of the context that gives rows.

A new task is a file and a line in ``run.py``.
"""
