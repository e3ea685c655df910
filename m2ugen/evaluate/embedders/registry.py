"""The measuring models by the name that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from m2ugen.errors import InputError
from m2ugen.evaluate.embedders.base import Embedder, PictureMatcher, Tagger, TextMatcher

HELP = "vggish=FILE, passt=FILE, imagebind=FILE, clap=FOLDER, mert=FOLDER (folders may be hub ids)"


@dataclass
class Measuring:
    """The models that measure, beside the stand-in that is always there."""

    embedders: list[Embedder] = field(default_factory=list)
    taggers: list[Tagger] = field(default_factory=list)
    texts: TextMatcher | None = None
    pictures: PictureMatcher | None = None
    bert: str | None = None


def _vggish(source: str, found: Measuring) -> None:
    from m2ugen.evaluate.embedders.vggish import VGGish

    found.embedders.append(VGGish.from_file(source))


def _passt(source: str, found: Measuring) -> None:
    from m2ugen.evaluate.embedders.passt import PaSST

    found.taggers.append(PaSST.from_file(source))


def _imagebind(source: str, found: Measuring) -> None:
    from m2ugen.evaluate.embedders.imagebind import ImageBind

    found.pictures = ImageBind.from_file(source)


def _clap(source: str, found: Measuring) -> None:
    from m2ugen.evaluate.embedders.clap import CLAP

    found.texts = model = CLAP(source)
    found.embedders.append(model)


def _mert(source: str, found: Measuring) -> None:
    from m2ugen.evaluate.embedders.mert import MERT

    found.embedders.append(MERT(source))


def _bert(source: str, found: Measuring) -> None:
    found.bert = source


LOADERS: dict[str, Callable[[str, Measuring], None]] = {
    "vggish": _vggish,
    "passt": _passt,
    "imagebind": _imagebind,
    "clap": _clap,
    "mert": _mert,
    "bert": _bert,
}


def load_measuring(given: list[str] | None = None) -> Measuring:
    """The models of ``given``, each NAME=WHERE, and the stand-ins. Raises InputError, MissingWeights."""
    from m2ugen.evaluate.embedders.musicnn import MusicnnSpace

    found = Measuring()
    for text in given or []:
        name, _, source = text.partition("=")
        if name not in LOADERS or not source:
            raise InputError(f"cannot measure with {text!r}; possible: {HELP}")
        LOADERS[name](str(Path(source).expanduser()) if source.startswith("~") else source, found)
    stand_in = MusicnnSpace()
    found.embedders.append(stand_in)
    found.taggers.append(stand_in)
    return found
