"""How a conversation is laid out for the language model.

A model must be asked in the layout that it was trained in; its configuration names one of FORMATS. No layout has a
system turn of our own: it costs tokens and says nothing about music. What attached media contain reaches the model
through the gated adapters; nano's layout also names them by a tag in front of the user's words, in which stands what
an encoder can say in words: a small model reads words more exactly than vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Describe = Callable[[np.ndarray], str]  # an encoder's hidden states [tokens, dim] in words

MODALITIES = ("music", "image", "video")
NUM_AUDIO_TOKENS = 8
AUDIO_TOKENS = tuple(f"[AUD{k}]" for k in range(NUM_AUDIO_TOKENS))
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class PromptFormat:
    """The words around what user and model say.

    ``opening`` stands before everything, ``ask`` before and ``answer`` after the user's words, ``end`` after a reply,
    ``between`` before the next turn. ``tags`` names attached media, ``gap`` stands between a reply and its [AUD]
    tokens. With ``special`` the text is framed by the tokenizer's own first and last token, and a reply's tokens are
    those that it has right behind the prompt, as SentencePiece models are trained. Writing ends at ``stop_strings``.
    """

    opening: str = ""
    ask: str = ""
    answer: str = "\n"
    end: str = ""
    between: str = "\n"
    gap: str = ""
    tags: bool = False
    special: bool = True
    stop_strings: tuple[str, ...] = ()


TASK = "Below is an instruction that describes a task"
REQUEST = "Write a response that appropriately completes the request.\n\n"
NEXT_SECTION = "\n###"  # a model that was never taught to end goes on with another section
# What MU-LLaMA was trained to read where the instruction's input would stand.
MULLAMA_INPUT = "<built-in function input>"

FORMATS = {
    # SmolLM2 and many others
    "chatml": PromptFormat(
        ask=f"{TURN_START}user\n",
        answer=f"{TURN_END}\n{TURN_START}assistant\n",
        end=TURN_END,
        tags=True,
        special=False,
    ),
    # Stanford Alpaca's layout (2023), in which M²UGen's language model is trained
    "alpaca": PromptFormat(
        opening=f"{TASK}. {REQUEST}",
        ask="### Instruction:\n",
        answer="\n\n### Response:",
        between="\n\n",
        gap=" ",
        stop_strings=(NEXT_SECTION,),
    ),
    # the same with an input section, as MU-LLaMA (arXiv 2308.11276) has it
    "alpaca-input": PromptFormat(
        opening=f"{TASK}, paired with an input that provides further context. {REQUEST}",
        ask="### Instruction:\n",
        answer=f"\n\n### Input:\n{MULLAMA_INPUT}\n\n### Response:",
        between="\n\n",
        gap=" ",
        stop_strings=(NEXT_SECTION,),
    ),
    # the words alone, a line each, for language models without a layout
    "plain": PromptFormat(),
}


@dataclass(frozen=True)
class Turn:
    """What the user said with which attachments, and what the model answered (None: not yet).

    ``makes_music`` says that the answer went on with the [AUD] tokens. ``found`` are words for what encoders found in
    attachments, by modality (see ``findings``).
    """

    user: str
    attached: tuple[str, ...] = ()
    reply: str | None = None
    makes_music: bool = False
    found: tuple[tuple[str, str], ...] = ()

    def tags(self) -> str:
        """The attachments by name, with what was found in them."""
        found = {name: f": {words}" for name, words in self.found}
        return "".join(f"<{name}{found.get(name, '')}> " for name in MODALITIES if name in self.attached)


def findings(describers: Mapping[str, Describe], features: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """``features`` in words, by modality, where ``describers`` know how to say them.

    Features are hidden states [tokens, dim] or [1, tokens, dim], arrays or tensors.
    """
    words = []
    for name in (name for name in features if name in describers):
        hidden = features[name]
        states = hidden.float().cpu().numpy() if isinstance(hidden, torch.Tensor) else np.asarray(hidden)
        words.append((name, describers[name](states.reshape(states.shape[-2:]))))
    return tuple(words)


def render_prompt(turns: Sequence[Turn], prompt_format: str = "chatml") -> str:
    """The text up to where the model is to answer the last turn; ``prompt_format`` is a name in FORMATS."""
    layout = FORMATS[prompt_format]
    text = layout.opening
    for turn in turns:
        text += f"{layout.ask}{turn.tags() if layout.tags else ''}{turn.user}{layout.answer}"
        if turn.reply is not None and turn is not turns[-1]:
            text += render_answer(turn, prompt_format) + layout.between
    return text


def render_answer(turn: Turn, prompt_format: str = "chatml") -> str:
    """The text that the model is to answer, the layout's end of turn included."""
    layout = FORMATS[prompt_format]
    audio = layout.gap + "".join(AUDIO_TOKENS) if turn.makes_music else ""
    return (turn.reply or "") + audio + layout.end


def encode_prompt(tokenizer: Any, turns: Sequence[Turn], prompt_format: str = "chatml") -> list[int]:
    """Token ids of ``render_prompt``, with the tokenizer's first token where the layout wants it."""
    first = tokenizer.bos_token_id if FORMATS[prompt_format].special else None
    return ([] if first is None else [first]) + _ids(tokenizer, render_prompt(turns, prompt_format))


def encode_answer(tokenizer: Any, turn: Turn, prompt_format: str = "chatml") -> list[int]:
    """Token ids that the model is to write after ``encode_prompt(tokenizer, [turn], prompt_format)``, the end
    included.
    """
    answer = render_answer(turn, prompt_format)
    if not FORMATS[prompt_format].special:
        return _ids(tokenizer, answer)
    prompt = render_prompt([turn], prompt_format)
    last = tokenizer.eos_token_id
    whole = _ids(tokenizer, prompt + answer)
    return whole[len(_ids(tokenizer, prompt)) :] + ([] if last is None else [last])


def _ids(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def cut_at(text: str, stop_strings: Sequence[str]) -> str:
    """``text`` up to the first of ``stop_strings``."""
    places = [place for stop in stop_strings if (place := text.find(stop)) >= 0]
    return text[: min(places)] if places else text
