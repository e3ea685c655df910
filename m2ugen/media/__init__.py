"""Files and arrays in, arrays out, and back: audio, images, video, and output files that are complete or absent.

No models here. Every input is checked where it enters: what cannot be used raises InputError with one line.
"""
