"""Training stages, one file each: a Task that says what is trained on what. No loops here; that is the trainer's."""
