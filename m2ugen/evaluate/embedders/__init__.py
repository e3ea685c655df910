"""Models that measure music: embeddings and class probabilities of a waveform, each loaded from its published files.

A new one is a file and a line in ``registry.py``.
"""
