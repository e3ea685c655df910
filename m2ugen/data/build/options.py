"""What a build is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m2ugen.errors import InputError

SETS = ("mucaps", "muedit", "muimage", "muvideo", "musicqa")


@dataclass(frozen=True)
class BuildOptions:
    """``source``: a folder of media, or a manifest whose files lie in ``media`` (default: beside it). ``output``: the
    set's folder.

    ``model`` (preset, folder or hub id) describes music. ``captioner`` describes pictures: "model", "paper" (BLIP,
    TimeSformer-GPT2), or a folder or hub id of such a captioner. ``writer`` words requests: "grammar", or a chat model
    (folder, hub id, or http address, where ``writer_model`` names it). ``edits``: muedit makes edits instead of
    looking for pairs. ``licence`` is that of media for which the manifest names none. ``max_speech`` (0 to 1) is the
    share of speech that music may have, 1 turns the check off; ``min_snr`` is in decibels.
    """

    source: Path
    output: Path
    media: Path | None = None
    model: str = "nano"
    captioner: str = "model"
    writer: str = "grammar"
    writer_model: str | None = None
    edits: bool = False
    licence: str | None = None
    max_speech: float = 0.3
    min_snr: float = 6.0

    @property
    def remote_writer(self) -> bool:
        """Whether ``writer`` is an address."""
        return self.writer.startswith(("http://", "https://"))

    def check(self, name: str) -> None:
        """Raises InputError for what cannot be built."""
        if name not in SETS:
            raise InputError(f"there is no set {name!r}; sets are: {', '.join(SETS)}")
        if not self.source.exists():
            raise InputError(f"{self.source} does not exist; give a folder of media, or a manifest")
        if self.media is not None and not self.media.is_dir():
            raise InputError(f"{self.media} is not a folder")
        if not 0 <= self.max_speech <= 1:
            raise InputError(f"the share of speech must be between 0 and 1, not {self.max_speech:g}")
        if not -100 <= self.min_snr <= 100:
            raise InputError(f"a signal-to-noise ratio of {self.min_snr:g} dB is no limit; choose -100 to 100")
        if self.edits and name != "muedit":
            raise InputError(f"--edits is for muedit; {name} has no edits")
        if self.remote_writer and not self.writer_model:
            raise InputError("name the chat model at the address with --writer-model")
        if self.writer_model and not self.remote_writer:
            raise InputError("--writer-model names a model at an http address; --writer is not one")
