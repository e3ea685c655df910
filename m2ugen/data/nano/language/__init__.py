"""Language about music for nano's training: prompts, captions, questions, edits and small talk.

Everything is sampled from rules with an explicit generator and states only what the given attributes hold, so
that every text comes with its truth. People's own texts enter through `prompts.prompt_from_description`.
"""
