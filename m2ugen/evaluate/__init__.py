"""Measurements: what music contains, whether it does what was asked, whether answers are true.

Everything here stands on the pipeline and on note arrays; nothing in the model or the pipeline imports it.
"""
