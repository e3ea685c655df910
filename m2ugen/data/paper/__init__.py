"""Reading material to train on: the published sets, shards of them, and folders of one's own songs.

Here belongs what turns places on disk into samples, and samples into the frozen parts' features. The building of sets
is ``m2ugen.data.build``, the batches are the training's.
"""
