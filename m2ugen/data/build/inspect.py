"""A page to listen to and look at some of a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from m2ugen.data.build.examples import Example, read_examples
from m2ugen.data.build.layouts import set_name
from m2ugen.demo.page import Card, write_page
from m2ugen.errors import InputError

MAX_BYTES = 24 << 20  # of a file that is put into the page


def write_inspection(folder: Path, page: Path, count: int = 12, seed: int = 0) -> None:
    """Write ``page`` (html, with its media inside) with ``count`` examples of the set in ``folder``, drawn by ``seed``.

    Raises InputError.
    """
    name = set_name(folder)
    examples = list(read_examples(folder))
    if not examples:
        raise InputError(f"there is nothing in {folder} to look at")
    chosen = sorted(np.random.default_rng(seed).permutation(len(examples))[:count].tolist())
    cards = [_card(index, examples[index]) for index in chosen]
    splits = {split: sum(example.split == split for example in examples) for split in {e.split for e in examples}}
    counts = ", ".join(f"{number} {split}" for split, number in sorted(splits.items()))
    write_page(page, f"{name}: {len(cards)} of {len(examples)} examples", counts, cards)


def _card(index: int, example: Example) -> Card:
    shown = [path for path in example.media.values() if _usable(path)]
    target = example.target if example.target is not None and _usable(example.target) else None
    files = [path.name for path in (*example.media.values(), example.target) if path is not None]
    plan = None if example.caption is None else f"Caption of the music: {example.caption}"
    text = (
        example.answer if len(shown) + (target is not None) == len(files) else f"{example.answer} ({', '.join(files)})"
    )
    return Card(f"{index}: {example.split}", example.request, text, plan, given=shown, audio=target)


def _usable(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= MAX_BYTES
