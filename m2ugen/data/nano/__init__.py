"""What the default model is trained on: songs, their arrangements, recordings of these and language about them.

Each module does one step: readers give `songs.Song`, `form` finds phrases, `arrange` makes pieces, `build` writes
shards.
"""
