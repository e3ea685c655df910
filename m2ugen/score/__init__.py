"""Music as notes: the attribute vocabulary, chords, the plan, note arrays and their synthesis.

Nothing here knows about neural networks or training data; the score decoder, the editor and the data
builders all stand on it.
"""
