"""Tokenizers of Llama models, from ``tokenizer.json`` or SentencePiece's ``tokenizer.model``, and the [AUD] tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from m2ugen.errors import MissingWeights

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")


def has_tokenizer(folder: Path) -> bool:
    """Whether ``load_tokenizer`` would find something in ``folder``."""
    return any((folder / name).is_file() for name in TOKENIZER_FILES)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in ``folder``. Raises MissingWeights when there is none."""
    from transformers import AutoTokenizer, LlamaTokenizer

    bare = not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json"))
    kind = LlamaTokenizer if bare and has_tokenizer(folder) else AutoTokenizer  # a bare tokenizer.model is Meta's
    try:
        tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        raise MissingWeights(f"no tokenizer in {folder}; it needs tokenizer.json or tokenizer.model") from error
    return tokenizer


def add_audio_tokens(
    tokenizer: PreTrainedTokenizerBase, vocab_size: int, names: tuple[str, ...]
) -> PreTrainedTokenizerBase:
    """``tokenizer`` with the tokens ``names`` at the ids ``vocab_size``, ``vocab_size + 1`` …

    Ids up to there that a padded vocabulary has and the tokenizer does not know are filled; tokens that others have put
    at these ids (a padding token, often) are taken off.
    """
    if len(tokenizer) > vocab_size and tokenizer.convert_tokens_to_ids(names[0]) != vocab_size:
        tokenizer = _first_tokens(tokenizer, vocab_size)
    fill = [f"<|unused_{k}|>" for k in range(len(tokenizer), vocab_size)]
    if fill:
        tokenizer.add_tokens(fill)
    tokenizer.add_special_tokens({"additional_special_tokens": list(names)}, replace_extra_special_tokens=False)
    return tokenizer


def _first_tokens(tokenizer: PreTrainedTokenizerBase, count: int) -> PreTrainedTokenizerBase:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    content = json.loads(tokenizer.backend_tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["id"] < count]
    names = ("bos_token", "eos_token", "unk_token", "pad_token")
    ends = {
        name: token
        for name in names
        if (token := getattr(tokenizer, name)) is not None and getattr(tokenizer, f"{name}_id") < count
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)), clean_up_tokenization_spaces=False, **ends
    )
