"""How a conversation is laid out for the language model.

The layout is that of the ChatML models (SmolLM2 and many others), without a system turn: it costs tokens and
says nothing about music. Attached media are named by a tag in front of the user's words; what they contain
reaches the model through the gated adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MODALITIES = ("music", "image", "video")
NUM_AUDIO_TOKENS = 8
AUDIO_TOKENS = tuple(f"[AUD{k}]" for k in range(NUM_AUDIO_TOKENS))
TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


@dataclass(frozen=True)
class Turn:
    """What the user said with which attachments, and what the model answered (None: not yet).

    ``makes_music`` says that the answer went on with the [AUD] tokens.
    """

    user: str
    attached: tuple[str, ...] = ()
    reply: str | None = None
    makes_music: bool = False


def render_prompt(turns: Sequence[Turn]) -> str:
    """The text up to where the model is to answer the last turn."""
    text = ""
    for turn in turns:
        tags = "".join(f"<{name}> " for name in MODALITIES if name in turn.attached)
        text += f"{TURN_START}user\n{tags}{turn.user}{TURN_END}\n{TURN_START}assistant\n"
        if turn.reply is not None and turn is not turns[-1]:
            text += turn.reply + ("".join(AUDIO_TOKENS) if turn.makes_music else "") + f"{TURN_END}\n"
    return text


def render_answer(turn: Turn) -> str:
    """The text that the model is to answer, end of turn included."""
    return (turn.reply or "") + ("".join(AUDIO_TOKENS) if turn.makes_music else "") + TURN_END
