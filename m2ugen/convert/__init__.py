"""Checkpoints of other formats → this package's.

Here belong names, layouts and file formats of others; a converter knows both sides and nothing knows a converter.
"""
