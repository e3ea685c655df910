"""Which kind of material lies in a place, and its samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from m2ugen.data.build.examples import CAPTION_REQUESTS, CAPTIONS, INSTRUCTIONS, Example, read_examples
from m2ugen.data.build.layouts import LAYOUTS, MUSICQA, SPLITS, read_alpaca, read_coco, set_name
from m2ugen.data.paper.samples import MediaFile, Medium, Sample
from m2ugen.data.paper.shards import is_sharded, read_shards
from m2ugen.data.paper.songs import is_song_folder, read_songs
from m2ugen.errors import InputError

COCO_ANNOTATIONS = "captions_*.json"
ALPACA_FILE = "alpaca_data*.json"
OWN_SONGS = "songs"


def read_place(place: str | Path) -> Iterator[Sample]:
    """The samples in ``place``, in its order: a folder of a published set, of COCO, of Alpaca, of shards, or of songs;
    Alpaca's file; or the address of shards (``hf://``, ``s3://`` … as fsspec knows them).

    Raises InputError when nothing of that kind is there.
    """
    if "://" in str(place):
        yield from read_shards(str(place))
        return
    folder = Path(place)
    if folder.is_file() and folder.suffix == ".json":
        yield from _alpaca(folder)
        return
    if not folder.is_dir():
        raise InputError(f"{place} is neither a folder nor a JSON file")
    if _is_published(folder):
        yield from from_examples(read_examples(folder), set_name(folder))
    elif annotations := sorted([*folder.glob(COCO_ANNOTATIONS), *folder.glob(f"annotations/{COCO_ANNOTATIONS}")]):
        for file in annotations:
            yield from _coco(folder, file)
    elif tasks := sorted(folder.glob(ALPACA_FILE)):
        for file in tasks:
            yield from _alpaca(file)
    elif is_sharded(folder):
        yield from read_shards(str(folder))
    elif is_song_folder(folder):
        yield from read_songs(folder, OWN_SONGS)
    else:
        raise InputError(
            f"there is nothing to train on in {folder}: no published set, no shards, no COCO or Alpaca, no songs"
        )


def holds_own_songs(place: str | Path) -> bool:
    """Whether ``place`` is a folder of songs with captions of their own."""
    folder = Path(place)
    others = (COCO_ANNOTATIONS, f"annotations/{COCO_ANNOTATIONS}", ALPACA_FILE)
    return (
        folder.is_dir()
        and not _is_published(folder)
        and not any(any(folder.glob(pattern)) for pattern in others)
        and not is_sharded(folder)
        and is_song_folder(folder)
    )


def from_examples(examples: Iterator[Example], origin: str) -> Iterator[Sample]:
    """Samples of a published set. Where it has captions only, they are requests for music as well."""
    captions: list[Sample] = []
    asked = False
    for example in examples:
        media: dict[str, Medium] = {kind: MediaFile(path) for kind, path in example.media.items()}
        shown = next(iter(example.media.values()), None)
        sample = Sample(
            origin, example.split, example.request, example.answer, f"{origin}/{_group(example)}", media,
            None if example.target is None else example.caption,
        )  # fmt: skip
        asked = asked or sample.caption is not None
        if example.split == CAPTIONS and "music" in media and shown is not None:
            group = f"{origin}/{shown.name}"
            captions.append(Sample(origin, INSTRUCTIONS, example.answer, "", group, {}, example.answer))
        yield sample
    if not asked and origin != MUSICQA:
        yield from captions


def _group(example: Example) -> str:
    """The music that a sample turns on, else what is shown."""
    path = example.target or next(iter(example.media.values()), None)
    return example.request if path is None else path.name


def _is_published(folder: Path) -> bool:
    files = [name for layout in LAYOUTS.values() for name in (layout.instructions, layout.captions) if name]
    return any((folder / name).is_file() for name in (*files, *SPLITS.values()))


def _coco(folder: Path, annotations: Path) -> Iterator[Sample]:
    """COCO's captions; pictures lie in a folder of the split's name, in ``images`` or beside the annotations."""
    split = annotations.stem.removeprefix("captions_")
    places = [folder / split, folder / "images" / split, folder / "images", folder]
    place = next((path for path in places if path.is_dir() and any(path.glob("*.jpg"))), places[0])
    for name, caption in read_coco(annotations):
        media: dict[str, Medium] = {"image": MediaFile(place / name)}
        yield Sample("coco", CAPTIONS, CAPTION_REQUESTS["image"], caption, f"coco/{name}", media)


def _alpaca(path: Path) -> Iterator[Sample]:
    for task in read_alpaca(path):
        request = f"{task.instruction}\n\n{task.input}" if task.input.strip() else task.instruction
        yield Sample("alpaca", INSTRUCTIONS, request, task.output, f"alpaca/{request}")


def is_nano_material(place: str | Path) -> bool:
    """Whether ``place`` is what ``m2ugen data nano`` wrote."""
    return (Path(place) / "scores").is_dir() and any((Path(place) / "scores").glob("*.jsonl"))
