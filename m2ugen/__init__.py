"""m2ugen: a language model that understands music and makes it, from words, pictures, videos and other music."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2ugen.config import M2UGenConfig
    from m2ugen.errors import InputError, M2UGenError, MissingExtra, MissingWeights
    from m2ugen.model.modeling import M2UGenModel
    from m2ugen.pipeline import Chat, M2UGen
    from m2ugen.processor import M2UGenProcessor
    from m2ugen.reply import Reply
    from m2ugen.score.plan import Plan

_HOMES = {  # public name → module; imported on first use, so that ``import m2ugen`` costs nothing
    "M2UGen": "m2ugen.pipeline",
    "Chat": "m2ugen.pipeline",
    "Reply": "m2ugen.reply",
    "Plan": "m2ugen.score.plan",
    "M2UGenConfig": "m2ugen.config",
    "M2UGenModel": "m2ugen.model.modeling",
    "M2UGenProcessor": "m2ugen.processor",
    "M2UGenError": "m2ugen.errors",
    "InputError": "m2ugen.errors",
    "MissingWeights": "m2ugen.errors",
    "MissingExtra": "m2ugen.errors",
}
__all__ = ["Chat", "InputError", "M2UGen", "M2UGenConfig", "M2UGenError", "M2UGenModel", "M2UGenProcessor",
           "MissingExtra", "MissingWeights", "Plan", "Reply"]  # fmt: skip
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        from m2ugen.startup import nothing_collected

        with nothing_collected():
            return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'm2ugen' has no attribute {name!r}")
