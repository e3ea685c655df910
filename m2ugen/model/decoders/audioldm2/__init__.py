"""AudioLDM 2 (arXiv 2308.05734) as a music decoder: ``loading`` reads diffusers' folders, ``prompts`` makes the
conditioning from text, ``windows`` lets music be longer than the network was trained for, ``ranking`` chooses among
several takes, and ``decoder`` denoises.
"""

from m2ugen.model.decoders.audioldm2.decoder import AudioLDM2Decoder

__all__ = ["AudioLDM2Decoder"]
