"""Editing music: commands, their wording, and one module per family of edits.

A command comes from the language model's reply (`parse_phrase`) or from rules (`read_instruction`); `apply_edit`
carries it out. An edit changes only what was asked: signal edits keep the recording, additions are mixed to it.
"""
