"""Training material: readers of the published data layouts and builders of new material.

Stands on m2ugen.score and m2ugen.media (and on the models where they label data); nothing but training, evaluation
and the command line imports it.
"""
