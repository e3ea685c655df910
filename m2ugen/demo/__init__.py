"""The demonstration: all abilities once, on bundled media, with a page to look at and listen to.

It calls the public pipeline only; drawing and page writing live here because nothing else needs them.
"""
