"""The operator that edits: each recording with one thing changed, for MUEdit with --edits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2ugen.data.build.engine import Operator, each
from m2ugen.data.build.media import music_of
from m2ugen.data.build.records import Outcome, Record
from m2ugen.data.build.understanding import load_model
from m2ugen.errors import InputError
from m2ugen.media.audio import save_audio
from m2ugen.score.lexicon import read_attributes

DRAWS = 6  # edits that are tried before a recording is given up


@dataclass(frozen=True)
class MakeEdit(Operator):
    """An edited version of the recording in ``folder``, with ``request``, ``answer``, ``edited_caption``; what was not
    asked to change is kept.
    """

    folder: str
    model_name: str = "nano"
    identity: str = ""
    name = "edit"
    needs = ("caption",)
    model = True

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "folder": None}

    def intact(self, record: Record, outcome: Outcome) -> bool:
        return self._path(outcome.facts["edited"]).is_file()

    def __call__(self, records: list[Record]) -> list[Outcome]:
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        return each(records, self._edit)

    def _path(self, name: str) -> Path:
        return Path(self.folder) / name

    def _edit(self, record: Record) -> Outcome:
        from m2ugen.data.nano.language.captions import sample_caption
        from m2ugen.data.nano.language.edits import sample_edit
        from m2ugen.edit.apply import apply_edit
        from m2ugen.edit.command import parse_phrase
        from m2ugen.model.decoders.base import Music, Player

        decoder = load_model(self.model_name).model.decoder
        player = decoder if isinstance(decoder, Player) else None
        audio = music_of(record)
        samples = audio.samples if audio.samples.shape[0] <= 2 else audio.mono()[None]
        attributes = read_attributes(record.facts["caption"])
        problem = "no edit could be made"
        for draw in range(DRAWS):
            rng = record.generator(f"edit {draw}")
            request, phrase, after = sample_edit(rng, attributes)
            command = parse_phrase(phrase)
            if command is None:
                continue
            seed = int(rng.integers(2**31))
            try:
                made = apply_edit(command, Music(samples, audio.sample_rate), player, after, seed)
            except InputError as error:
                problem = str(error)
                continue
            name = f"muedit_{record.id}_edit.mp3"
            save_audio(self._path(name), made.audio, made.sample_rate)
            caption = sample_caption(rng, after)
            return Outcome({"request": request, "answer": phrase, "edited": name, "edited_caption": caption})
        raise InputError(problem)
