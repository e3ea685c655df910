"""Synonyms from WordNet's own database files, for METEOR.

They come with Debian's wordnet-base and with NLTK's data; both hold the same files, and reading them takes no more
than this. Without them METEOR matches words and stems only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

PARTS = ("noun", "verb", "adj", "adv")
VARIABLE = "WNSEARCHDIR"  # WordNet's own


@dataclass(frozen=True)
class Lemma:
    """A word of a synonym set, in the form that NLTK's METEOR asks for."""

    text: str

    def name(self) -> str:
        return self.text


@dataclass(frozen=True)
class Synset:
    """Words that mean the same."""

    words: tuple[str, ...]

    def lemmas(self) -> list[Lemma]:
        return [Lemma(word) for word in self.words]


class WordNet:
    """The database in ``folder`` (index.noun, data.noun …); empty for None."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    @property
    def found(self) -> bool:
        """Whether there is a database."""
        return self.folder is not None

    def synsets(self, word: str) -> list[Synset]:
        """The sets that ``word`` belongs to, over all parts of speech."""
        if self.folder is None:
            return []
        key = word.lower()
        return [self._set(part, offset) for part, index in self._indexes.items() for offset in index.get(key, ())]

    @cached_property
    def _indexes(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Offsets of the sets by word, for each part of speech: the last fields of a line of an index file."""
        assert self.folder is not None
        indexes: dict[str, dict[str, tuple[int, ...]]] = {}
        for part in PARTS:
            table = indexes.setdefault(part, {})
            with (self.folder / f"index.{part}").open(encoding="utf-8") as file:
                for line in file:
                    if not line.startswith(" "):  # the licence
                        fields = line.split()
                        table[fields[0]] = tuple(int(offset) for offset in fields[-int(fields[2]) :])
        return indexes

    @lru_cache(maxsize=20_000)  # noqa: B019 (one database lives as long as the process)
    def _set(self, part: str, offset: int) -> Synset:
        assert self.folder is not None
        with (self.folder / f"data.{part}").open("rb") as file:
            file.seek(offset)
            fields = file.readline().decode("utf-8").split()
        count = int(fields[3], 16)
        return Synset(tuple(fields[4 + 2 * k].split("(")[0] for k in range(count)))


def candidates() -> list[Path]:
    """Where a database may be."""
    folders = [Path(value) for value in (os.environ.get(VARIABLE),) if value]
    folders += [Path("/usr/share/wordnet"), Path("/usr/share/wordnet/dict")]
    data = [Path(value) for value in os.environ.get("NLTK_DATA", "").split(os.pathsep) if value]
    return folders + [base / "corpora" / "wordnet" for base in (*data, Path("~/nltk_data").expanduser())]


@lru_cache(maxsize=1)
def synonyms() -> WordNet:
    """The database of this machine; an empty one where there is none."""
    found = (folder for folder in candidates() if all((folder / f"index.{part}").is_file() for part in PARTS))
    return WordNet(next(found, None))
