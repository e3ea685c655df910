"""Exchanges as a padded batch, whatever modalities they come with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from m2ugen.data.nano.dialogue import PLAIN, Dialogue
from m2ugen.model.language_model import IGNORED
from m2ugen.model.prompting import MODALITIES, Describe, Turn, encode_answer, encode_prompt, findings

NOT_TOLD: Mapping[str, Describe] = MappingProxyType({})  # of encoders whose findings are not put in words


def encode(
    dialogue: Dialogue, tokenizer: Any, prompt_format: str, describers: Mapping[str, Describe] = NOT_TOLD
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the answer, [AUD] tokens and end included; plain text has no prompt and no end."""
    if dialogue.kind == PLAIN:
        return [], list(tokenizer(dialogue.reply, add_special_tokens=False)["input_ids"])
    found = findings(describers, {name: getattr(dialogue, name) for name in dialogue.attached})
    earlier = [
        Turn(
            before.user,
            dialogue.attached if before.attached else (),
            before.reply,
            before.makes_music,
            found if before.attached else (),
        )
        for before in dialogue.earlier
    ]
    turn = Turn(dialogue.user, dialogue.attached, dialogue.reply, dialogue.target is not None, found)
    return encode_prompt(tokenizer, [*earlier, turn], prompt_format), encode_answer(tokenizer, turn, prompt_format)


def collate(
    dialogues: Sequence[Dialogue],
    tokenizer: Any,
    shapes: Mapping[str, tuple[int, int]],
    prompt_format: str,
    describers: Mapping[str, Describe] = NOT_TOLD,
) -> dict[str, Any]:
    """Token ids, mask and labels [batch, length], features [batch, tokens, dim] with presence [batch] by modality, and
    the conditioning targets of the rows that make music.

    ``shapes`` are the features' shapes by modality, ``describers`` as in m2ugen.model.prompting.findings. Where nobody
    has a modality it is there as one row of zeros that counts as absent: every process must use every parameter, or
    those of other processes wait for it.
    """
    encoded = [encode(dialogue, tokenizer, prompt_format, describers) for dialogue in dialogues]
    rows = [prompt + answer for prompt, answer in encoded]
    labels = [[IGNORED] * len(prompt) + answer for prompt, answer in encoded]
    length = max(map(len, rows))
    batch: dict[str, Any] = {
        "input_ids": torch.tensor([row + [0] * (length - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED] * (length - len(row)) for row in labels]),
        "ids": [dialogue.kind for dialogue in dialogues],
        "features": {},
        "present": {},
    }
    for name in MODALITIES:
        if name not in shapes:
            continue
        given = [getattr(dialogue, name) for dialogue in dialogues]
        blank = np.zeros(shapes[name], dtype=np.float32)
        if all(features is None for features in given):
            given = [None]
        stacked = np.stack([blank if f is None else np.asarray(f, dtype=np.float32) for f in given])
        batch["features"][name] = torch.from_numpy(stacked)
        batch["present"][name] = torch.tensor([f is not None for f in given])
    targets = [np.asarray(d.target, dtype=np.float32) for d in dialogues if d.target is not None]
    batch["targets"] = torch.from_numpy(np.stack(targets)) if targets else None
    return batch
