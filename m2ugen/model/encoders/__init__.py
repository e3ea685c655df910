"""Frozen feature extractors: one file per encoder, all following the protocol in base.py.

No language, no adapters: hidden states of one medium, and nothing else.
"""
