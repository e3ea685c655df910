"""Files, arrays and words to what the model takes: token ids, and each medium as its encoder wants it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.audio import Audio, load_audio
from m2ugen.media.files import atomic_output
from m2ugen.media.image import load_image
from m2ugen.media.video import Frames, load_clip
from m2ugen.model.encoders.base import Describing, Encoder
from m2ugen.model.prompting import AUDIO_TOKENS, MODALITIES, Describe, Turn, encode_prompt, findings
from m2ugen.model.registry import describers
from m2ugen.reply import Reply
from m2ugen.weights import cache_folder, model_folder
from m2ugen.weights.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedTokenizerBase

PROCESSOR_VERSION = 1
CONFIG_NAME = "m2ugen_processor.json"
CACHE_VERSION = 1
CACHE_ENTRIES = 4096
DEFAULT_FRAMES = 32


@dataclass
class LoadedMedia:
    """The decoded attachments of one request; ``reply`` is the earlier result that ``music`` came from, if any.

    ``motion`` are small pictures of the video, dense enough to follow its course in time.
    """

    music: Audio | None = None
    image: Image | None = None
    video: Frames | None = None
    reply: Reply | None = None
    motion: Frames | None = None

    @property
    def video_duration(self) -> float | None:
        """Length of the video in seconds."""
        return None if self.video is None else self.video.duration

    @property
    def attached(self) -> tuple[str, ...]:
        """The modalities that are there, in the model's order."""
        return tuple(name for name in MODALITIES if getattr(self, name) is not None)


@dataclass
class FeatureCache:
    """Encoder outputs on disk, one safetensors file for each content and encoder.

    A folder that cannot be written to turns the cache off; files that cannot be read are computed anew. At most
    ``max_entries`` files are kept, the oldest go first.
    """

    folder: Path = field(default_factory=lambda: cache_folder() / f"features-{CACHE_VERSION}")
    max_entries: int = CACHE_ENTRIES

    def path(self, key: str) -> Path:
        """The file of ``key``."""
        return self.folder / f"{key}.safetensors"

    def get(self, key: str) -> torch.Tensor | None:
        """The features stored under ``key``, or None."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            features: torch.Tensor = load_file(self.path(key))["features"]
        except (OSError, SafetensorError, KeyError):
            return None
        return features

    def put(self, key: str, features: torch.Tensor) -> None:
        """Store ``features``; the file appears complete or not at all."""
        from safetensors.torch import save

        data = save({"features": features.detach().to("cpu").contiguous()})
        with suppress(OSError, InputError):  # a full or read-only disk: the features are simply not kept
            self.folder.mkdir(parents=True, exist_ok=True)
            with atomic_output(self.path(key), (".safetensors",)) as temporary:
                temporary.write_bytes(data)
            self._prune()

    def _prune(self) -> None:
        entries = list(self.folder.glob("*.safetensors"))
        if len(entries) > self.max_entries:
            entries.sort(key=lambda path: path.stat().st_mtime)
            for path in entries[: len(entries) - self.max_entries]:
                path.unlink(missing_ok=True)


class M2UGenProcessor:
    """Tokenizer, decoding of media, and each encoder's preparation.

    ``encoders`` maps "music", "image" and "video" to encoders. A music encoder's ``prepare`` receives float32
    [samples], mono, at its ``sample_rate`` (Hz); an image encoder's a PIL image in RGB; a video encoder's Frames,
    ``num_frames`` of them, evenly spaced (fewer when the video has no more). ``prompt_format`` is the layout of
    conversations, as in M2UGenConfig. ``describers`` put hidden states of encoders that are told in words (see
    m2ugen.model.registry.describers).
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        encoders: Mapping[str, Encoder] | None = None,
        cache: FeatureCache | None = None,
        prompt_format: str = "chatml",
        describers: Mapping[str, Describe] | None = None,
    ) -> None:
        vocabulary = tokenizer.get_vocab()  # made anew by every call
        missing = [token for token in AUDIO_TOKENS if token not in vocabulary]
        if missing:
            tokenizer.add_special_tokens({"additional_special_tokens": missing})
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        self.tokenizer = tokenizer
        self.encoders = dict(encoders or {})
        self.cache = cache
        self.prompt_format = prompt_format
        self.describers = dict(describers or {})
        self._fingerprints: dict[str, str] = {}

    @classmethod
    def from_model(cls, model: Any, cache: FeatureCache | None = None) -> M2UGenProcessor:
        """The processor of an M2UGenModel: its tokenizer and its encoders. Raises MissingWeights."""
        tokenizer = getattr(model, "tokenizer", None)
        if tokenizer is None:
            source = model.config.language_model_source or model.config.name_or_path
            tokenizer = load_tokenizer(model_folder(source))
        held = getattr(model, "encoders", None)
        encoders = {
            name: held[name] if held is not None else getattr(model, f"{name}_encoder")
            for name in model.config.modalities
        }
        cache = cache if cache is not None else FeatureCache()
        return cls(tokenizer, encoders, cache, model.config.prompt_format, describers(model.config))

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, encoders: Mapping[str, Encoder] | None = None, cache: FeatureCache | None = None
    ) -> M2UGenProcessor:
        """Read what ``save_pretrained`` wrote. Raises InputError for another version, MissingWeights when absent."""
        path = Path(folder) / CONFIG_NAME
        try:
            settings = json.loads(path.read_text(encoding="utf-8"))
            version = settings["version"]
        except OSError as error:
            raise MissingWeights(f"no processor in {folder} ({CONFIG_NAME}); save one with save_pretrained") from error
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is damaged; save the processor again") from error
        if version != PROCESSOR_VERSION:
            raise InputError(f"{path} has version {version}; this release reads version {PROCESSOR_VERSION}")
        layout, told = settings.get("prompt_format", "chatml"), settings.get("told", [])
        able = {name: encoder for name, encoder in (encoders or {}).items() if isinstance(encoder, Describing)}
        describe = {name: able[name].describe for name in told if name in able}
        return cls(load_tokenizer(Path(folder)), encoders, cache, layout, describe)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write the tokenizer and the processor's version into ``folder``; encoders are saved with the model."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.tokenizer.save_pretrained(folder)
        settings = {
            "version": PROCESSOR_VERSION,
            "modalities": sorted(self.encoders),
            "prompt_format": self.prompt_format,
            "told": sorted(self.describers),
        }
        (folder / CONFIG_NAME).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")
        return folder

    def load(self, music: Any = None, image: Any = None, video: Any = None) -> LoadedMedia:
        """Decode attachments: paths, bytes, file objects, (array, rate), PIL images, video arrays, or a Reply as music.

        Raises InputError for what cannot be used.
        """
        reply = music if isinstance(music, Reply) else None
        if reply is not None:
            if reply.audio is None or reply.sample_rate is None:
                raise InputError("this reply has no audio; use one of generate or edit")
            music = (reply.audio, reply.sample_rate)
        clip, motion = (None, None) if video is None else load_clip(video, self.num_frames)
        return LoadedMedia(
            music=None if music is None else load_audio(music),
            image=None if image is None else load_image(image),
            video=clip,
            reply=reply,
            motion=motion,
        )

    @property
    def num_frames(self) -> int:
        """Pictures that the video encoder takes."""
        return int(getattr(self.encoders.get("video"), "num_frames", DEFAULT_FRAMES))

    def prepare(self, loaded: LoadedMedia) -> dict[str, dict[str, torch.Tensor]]:
        """Each attached modality as its encoder's inputs, tensors without a batch dimension."""
        return {name: self._encoder(name).prepare(self._medium(name, loaded)) for name in loaded.attached}

    def encode(self, loaded: LoadedMedia) -> dict[str, torch.Tensor]:
        """Each attached modality's hidden states [1, tokens, dim], from the cache where they are known."""
        features = {}
        for name in loaded.attached:
            encoder, medium = self._encoder(name), self._medium(name, loaded)
            key = f"{name}-{content_hash(medium)}-{self.fingerprint(name)}" if self.cache is not None else ""
            hidden = self.cache.get(key) if self.cache is not None else None
            device, dtype = _placement(encoder)
            if hidden is None:
                inputs = encoder.prepare(medium)
                with torch.inference_mode():
                    hidden = encoder(**{field: _moved(value[None], device, dtype) for field, value in inputs.items()})
                if self.cache is not None:
                    self.cache.put(key, hidden)
            features[name] = hidden.to(device)
        return features

    def fingerprint(self, name: str) -> str:
        """Identity of an encoder: its class, sizes and weights."""
        if name not in self._fingerprints:
            encoder = self._encoder(name)
            digest = hashlib.sha256(f"{type(encoder).__qualname__} {encoder.num_tokens} {encoder.dim}".encode())
            if isinstance(encoder, torch.nn.Module):
                for field, tensor in sorted(encoder.state_dict().items()):
                    values = tensor.detach().to("cpu").contiguous()
                    digest.update(f"{field} {values.dtype} {tuple(values.shape)}".encode())
                    digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
            self._fingerprints[name] = digest.hexdigest()[:16]
        return self._fingerprints[name]

    def __call__(
        self,
        text: str | Sequence[str] | Sequence[Turn],
        music: Any = None,
        image: Any = None,
        video: Any = None,
    ) -> dict[str, Any]:
        """Inputs of the model: ``input_ids`` and ``attention_mask`` [batch, tokens] (padded on the left), and for each
        attached modality its encoder's inputs with a batch dimension, ``{"music": {name: [1, ...]}, ...}``.

        ``text`` is one user's turn, several independent ones (a batch that shares the attachments), or a
        conversation as Turns. Raises InputError.
        """
        loaded = self.load(music, image, video)
        found = findings(self.describers, self.encode(loaded)) if self.describers else ()
        if isinstance(text, str):
            conversations = [[Turn(text, loaded.attached, found=found)]]
        elif text and all(isinstance(turn, Turn) for turn in text):
            turns = [turn for turn in text if isinstance(turn, Turn)]
            conversations = [[*turns[:-1], replace(turns[-1], found=found)]]
        elif text and all(isinstance(words, str) for words in text):
            conversations = [[Turn(str(words), loaded.attached, found=found)] for words in text]
        else:
            raise InputError("text must be a string, a list of strings or a list of turns, and not empty")
        prompts = [encode_prompt(self.tokenizer, turns, self.prompt_format) for turns in conversations]
        tokens = self.tokenizer.pad({"input_ids": prompts}, return_tensors="pt", padding_side="left")
        prepared = self.prepare(loaded)
        return {
            "input_ids": tokens["input_ids"],
            "attention_mask": tokens["attention_mask"],
            **{name: {field: value[None] for field, value in inputs.items()} for name, inputs in prepared.items()},
        }

    def decode(self, token_ids: torch.Tensor | list[int]) -> str:
        """Text of token ids, without special tokens."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True)).strip()

    def _encoder(self, name: str) -> Encoder:
        if name not in self.encoders:
            known = ", ".join(sorted(self.encoders)) or "text only"
            raise InputError(f"this model does not understand {name}; it understands: {known}")
        return self.encoders[name]

    def _medium(self, name: str, loaded: LoadedMedia) -> Any:
        if name == "music" and loaded.music is not None:
            rate = getattr(self._encoder(name), "sample_rate", loaded.music.sample_rate)
            return load_audio(loaded.music, sample_rate=rate, mono=True).samples[0]
        if name == "video" and loaded.video is not None:
            return loaded.video
        return loaded.image


def joined(rows: Sequence[Mapping[str, torch.Tensor]]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Features [1, tokens, dim] by modality, a mapping for each row, as features [rows, tokens, dim].

    The second mapping has a boolean [rows] for each modality that not every row has: which of them do.
    """
    features, present = {}, {}
    for name in dict.fromkeys(name for row in rows for name in row):
        known = next(row[name] for row in rows if name in row)
        features[name] = torch.cat([row.get(name, torch.zeros_like(known)) for row in rows])
        if not all(name in row for row in rows):
            present[name] = torch.tensor([name in row for row in rows], device=known.device)
    return features, present


def content_hash(medium: Any) -> str:
    """A name for decoded content: the same samples or pixels have the same name."""
    digest = hashlib.sha256()
    for part in (medium.array, medium.timestamps) if isinstance(medium, Frames) else (medium,):
        array = np.ascontiguousarray(np.asarray(part))
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()[:32]


def _placement(encoder: Any) -> tuple[torch.device, torch.dtype | None]:
    if isinstance(encoder, torch.nn.Module):
        for parameter in encoder.parameters():
            return parameter.device, parameter.dtype if parameter.dtype.is_floating_point else None
    return torch.device("cpu"), None


def _moved(value: torch.Tensor, device: torch.device, dtype: torch.dtype | None) -> torch.Tensor:
    return value.to(device, dtype if value.is_floating_point() else None)
