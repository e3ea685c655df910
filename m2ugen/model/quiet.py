"""Libraries that talk while they work, made silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def quietly(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` of transformers without its progress bars and notes."""
    from transformers.utils import logging

    def call(*arguments: Any, **keywords: Any) -> Any:
        level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()
        try:
            return function(*arguments, **keywords)
        finally:
            logging.set_verbosity(level)
            if bars:
                logging.enable_progress_bar()

    return call
