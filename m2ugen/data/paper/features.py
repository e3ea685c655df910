"""What the frozen parts make of samples, computed once and kept on disk: encoders' hidden states, text states."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m2ugen.config import M2UGenConfig
from m2ugen.data.build.records import digest, file_version
from m2ugen.data.paper.samples import Medium, Sample
from m2ugen.errors import InputError
from m2ugen.model.registry import load_component
from m2ugen.processor import FeatureCache, M2UGenProcessor

ENCODED_TOGETHER, CAPTIONS_TOGETHER = 8, 32
Progress = Callable[[str, float], None]  # called with a label and the finished fraction, 0-1


@dataclass(frozen=True)
class Keys:
    """Where a sample's features are in the cache: by modality, and the conditioning's (None: it makes no music)."""

    media: dict[str, str]
    target: str | None = None


class FeatureStore(FeatureCache):
    """Features that training comes back to every epoch: none is dropped, and a full disk is an error."""

    def has(self, key: str) -> bool:
        """Whether features are stored under ``key``."""
        return self.path(key).is_file()

    def put(self, key: str, features: torch.Tensor) -> None:
        super().put(key, features)
        if not self.has(key):
            raise InputError(f"cannot write features to {self.folder}: the disk is full or read-only; use --features")

    def size(self, keys: Iterable[Keys]) -> int:
        """Disk space of the features, in bytes."""
        names = {name for each in keys for name in (*each.media.values(), *([each.target] if each.target else []))}
        return sum(self.path(name).stat().st_size for name in names)

    def _prune(self) -> None:
        """Keeps all."""


class FrozenParts:
    """Encoders and decoder of a model as sources of features.

    ``folder`` holds the weights of parts without a source of their own. ``cache`` keeps features in half precision; a
    feature is computed by one process alone (``rank`` of ``world``), and read by all.
    """

    def __init__(
        self,
        config: M2UGenConfig,
        folder: Path,
        cache: FeatureStore,
        tokenizer: Any,
        device: str | torch.device = "cpu",
    ) -> None:
        self.config, self.folder, self.cache, self.device = config, folder, cache, device
        encoders: dict[str, Any] = {}
        for name in config.modalities:
            encoder = getattr(config, f"{name}_encoder")
            if encoder.kind is not None:
                encoders[name] = load_component(encoder, folder, device)
        self.processor = M2UGenProcessor(tokenizer, encoders)
        self.decoder: Any = None
        if config.decoder is not None and config.decoder.kind is not None:
            self.decoder = load_component(config.decoder, folder, device)

    def prepare(
        self, samples: Sequence[Sample], progress: Progress = lambda label, share: None
    ) -> tuple[dict[int, Keys], dict[int, str]]:
        """Compute what is not yet in the cache. Gives the keys of each usable sample, by its place in ``samples``, and
        of the others why their media cannot be used.
        """
        media: dict[str, tuple[str, Medium]] = {}
        captions: dict[str, tuple[str, Medium | None]] = {}
        keys: dict[int, Keys] = {}
        for place, sample in enumerate(samples):
            own = {name: self._media_key(name, medium) for name, medium in sample.media.items()}
            media.update({key: (name, sample.media[name]) for name, key in own.items()})
            target = None
            if sample.caption is not None and self.decoder is not None:
                sound = sample.sound if self._hears else None
                target = self._text_key(sample.caption, sound)
                if target not in captions:
                    captions[target] = (sample.caption, sound)
                if sound is not None:
                    media[self._media_key("music", sound)] = ("music", sound)
            keys[place] = Keys(own, target)
        failures = self._encode(media, progress)
        _wait_for_others()
        self._encode_captions(captions, failures, progress)
        _wait_for_others()
        unusable: dict[int, str] = {}
        for place in list(keys):
            needed = (*keys[place].media.values(), *(() if (target := keys[place].target) is None else (target,)))
            missing = [key for key in needed if not self.cache.has(key)]
            if missing:
                unusable[place] = failures.get(missing[0], "the file cannot be read")
                del keys[place]
        return keys, unusable

    # -- encoders ------------------------------------------------------------------------------------------------

    def _media_key(self, name: str, medium: Medium) -> str:
        return f"{name}-{medium.key}-{self.processor.fingerprint(name)}-half"

    def _encode(self, media: Mapping[str, tuple[str, Medium]], progress: Progress) -> dict[str, str]:
        """Features of all ``media`` that are not kept yet; gives what is wrong with those that cannot be read."""
        failures: dict[str, str] = {}
        missing = [key for key in _own_share(list(media)) if not self.cache.has(key)]
        done = 0
        for group in _chunks(missing, ENCODED_TOGETHER):
            waiting: dict[tuple[Any, ...], list[tuple[str, dict[str, torch.Tensor]]]] = {}
            for key in group:
                name, medium = media[key]
                try:
                    prepared = self.processor.prepare(self.processor.load(**{name: medium.open()}))[name]
                except (InputError, OSError) as error:
                    failures[key] = " ".join(str(error).split())
                    continue
                shapes = (name, *sorted((field, tuple(value.shape)) for field, value in prepared.items()))
                waiting.setdefault(shapes, []).append((key, prepared))
            for (name, *_), together in waiting.items():
                self._encode_together(name, together)
            done += len(group)
            progress("listening and looking", done / len(missing))
        return failures

    @torch.inference_mode()
    def _encode_together(self, name: str, together: list[tuple[str, dict[str, torch.Tensor]]]) -> None:
        fields = together[0][1]
        batch = {field: torch.stack([inputs[field] for _, inputs in together]).to(self.device) for field in fields}
        hidden = self.processor.encoders[name](**batch)
        for (key, _), features in zip(together, hidden):
            self.cache.put(key, features.half())  # [tokens, dim]

    # -- the decoder's text states ---------------------------------------------------------------------------------

    @property
    def _hears(self) -> bool:
        """Whether the music itself can be put into the decoder's terms, beyond what its caption says."""
        return hasattr(self.decoder, "refine") and hasattr(self.processor.encoders.get("music"), "conditioning")

    def _text_key(self, caption: str, sound: Medium | None) -> str:
        assert self.config.decoder is not None
        heard = "" if sound is None else self._media_key("music", sound)
        return f"text-{digest(caption, heard, self._decoder_identity())[:32]}-half"

    def _decoder_identity(self) -> list[Any]:
        """The decoder's description and its files: hashing gigabytes of weights would take longer than reading them."""
        assert self.config.decoder is not None
        place = self.folder / (self.config.decoder.source or "")
        files = sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else []
        return [self.config.decoder.to_dict(), [[path.name, file_version(path)] for path in files]]

    def _encode_captions(
        self, captions: Mapping[str, tuple[str, Medium | None]], failures: dict[str, str], progress: Progress
    ) -> None:
        missing = [key for key in _own_share(list(captions)) if not self.cache.has(key)]
        done = 0
        for group in _chunks(missing, CAPTIONS_TOGETHER):
            states = self.decoder.encode_text([captions[key][0] for key in group])
            for key, target in zip(group, states):
                caption, sound = captions[key]
                if sound is not None:
                    heard = self.cache.get(self._media_key("music", sound))
                    if heard is None:
                        failures[key] = failures.get(self._media_key("music", sound), "the file cannot be read")
                        continue
                    told = self.processor.encoders["music"].conditioning(heard[None].float())  # type: ignore[attr-defined]
                    target = self.decoder.refine(told, caption)[0]
                self.cache.put(key, target.half())
            done += len(group)
            progress("reading captions", done / len(missing))


def _chunks(keys: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for first in range(0, len(keys), size):
        yield keys[first : first + size]


def _own_share(keys: Sequence[str]) -> Sequence[str]:
    """Those that this process computes, of the processes that ``accelerate launch`` started."""
    return keys[int(os.environ.get("RANK", 0)) :: int(os.environ.get("WORLD_SIZE", 1))]


def _wait_for_others() -> None:
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        from datetime import timedelta

        from accelerate import PartialState

        # encoding a large set takes longer than the usual patience of ten minutes
        PartialState(cpu=not torch.cuda.is_available(), timeout=timedelta(days=2)).wait_for_everyone()
