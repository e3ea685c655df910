"""MusicGen (arXiv 2306.05284) as music decoder, driven by conditioning in place of its T5 text states.

``decoder`` loads a published folder and puts the others together: ``transformer`` computes the codes' logits (on
``linear``, fast for few rows), ``sampling`` draws codes window by window, ``codec`` makes them audible, and ``chroma``
turns a recording into the tune that melody models follow.
"""

from m2ugen.model.decoders.musicgen.decoder import MusicGenDecoder

__all__ = ["MusicGenDecoder"]
