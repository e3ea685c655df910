"""Music decoders: each turns conditioning [batch, N, D] into music (see ``base.MusicDecoder``).

One file or folder per decoder. How conditioning is made from text, images or music is the business of the language
model and the projector, not of this room.
"""
