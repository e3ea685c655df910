"""Operators that look: captions of pictures and videos, by the model itself or by the paper's captioners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from m2ugen.data.build.engine import Operator, attempt
from m2ugen.data.build.media import frames_of, picture_of
from m2ugen.data.build.records import Outcome, Record
from m2ugen.data.build.texts import fault
from m2ugen.data.build.understanding import (
    CAPTION_TOKENS,
    answer_batch,
    device,
    encode_batch,
    encoder_of,
    load_model,
    loaded,
)
from m2ugen.errors import InputError, MissingWeights

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["image", "video"]
PAPER: dict[str, str] = {
    "image": "Salesforce/blip-image-captioning-base",
    "video": "Neleac/timesformer-gpt2-video-captioning",
}
GPT2 = "openai-community/gpt2"  # whose tokenizer the published video captioner uses without carrying it
NUM_BEAMS, MAX_NEW_TOKENS = 4, 32
REQUESTS = {"image": "Describe this picture.", "video": "Describe this video."}
DEFAULT_FRAMES = 32


class Captioner(Protocol):
    """Describes pictures, each given as its frames (one of a picture)."""

    num_frames: int

    def __call__(self, pictures: Sequence[Sequence[Image]]) -> list[str]: ...


class BlipCaptioner:
    """BLIP (arXiv 2201.12086) from a folder in Hugging Face's format."""

    num_frames = 1

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, BlipForConditionalGeneration
        from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

        from m2ugen.model.encoders.pretrained import read_preprocessor

        model: Any = BlipForConditionalGeneration.from_pretrained(folder, local_files_only=True)
        self.model = model.to(device()).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        self.processor = BlipImageProcessorPil.from_dict(read_preprocessor(folder))

    def __call__(self, pictures: Sequence[Sequence[Image]]) -> list[str]:
        pixels = self.processor([frames[0] for frames in pictures], return_tensors="pt")["pixel_values"]
        return _generated(self.model, self.tokenizer, pixels)


class EncoderDecoderCaptioner:
    """A vision encoder with a language model behind it: TimeSformer-GPT2 for videos, ViT-GPT2 for pictures."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer, VisionEncoderDecoderModel
        from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil
        from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

        from m2ugen.model.encoders.pretrained import read_preprocessor
        from m2ugen.weights import model_folder
        from m2ugen.weights.tokenizer import has_tokenizer

        model: Any = VisionEncoderDecoderModel.from_pretrained(folder, local_files_only=True)
        self.model = model.to(device()).eval()
        self.num_frames: int = getattr(self.model.config.encoder, "num_frames", 1)
        words = folder if has_tokenizer(folder) or (folder / "vocab.json").is_file() else model_folder(GPT2)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(words, local_files_only=True)
        kind: Any = VideoMAEImageProcessorPil if self.num_frames > 1 else ViTImageProcessorPil
        self.processor = kind.from_dict(read_preprocessor(folder))

    def __call__(self, pictures: Sequence[Sequence[Image]]) -> list[str]:
        import torch

        if self.num_frames == 1:
            pixels = self.processor([frames[0] for frames in pictures], return_tensors="pt")["pixel_values"]
        else:
            videos = [self.processor(list(frames), return_tensors="pt")["pixel_values"] for frames in pictures]
            pixels = torch.cat([video if video.ndim == 5 else video[None] for video in videos])
        return _generated(self.model, self.tokenizer, pixels)  # pixels [batch, frames, 3, height, width]


def _generated(model: Any, tokenizer: Any, pixels: Any) -> list[str]:
    import torch

    with torch.inference_mode():
        tokens = model.generate(
            pixel_values=pixels.to(model.device), max_new_tokens=MAX_NEW_TOKENS, num_beams=NUM_BEAMS, do_sample=False
        )
    return [" ".join(text.split()) for text in tokenizer.batch_decode(tokens, skip_special_tokens=True)]


CAPTIONERS: dict[str, Any] = {"blip": BlipCaptioner, "vision-encoder-decoder": EncoderDecoderCaptioner}  # by model_type


def load_captioner(source: str) -> Captioner:
    """The captioner in a folder or at a hub id. Raises InputError for another kind of model, MissingWeights."""

    def load() -> Captioner:
        import json

        from m2ugen.model.quiet import quietly
        from m2ugen.weights import model_folder

        folder = model_folder(source)
        try:
            kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
        except (OSError, ValueError, AttributeError) as error:
            raise MissingWeights(f"there is no model in {source}: config.json is missing or damaged") from error
        if kind not in CAPTIONERS:
            raise InputError(f"{source} is a model of type {kind!r}; captioners are of type {' or '.join(CAPTIONERS)}")
        try:
            captioner: Captioner = quietly(CAPTIONERS[kind])(folder)
        except (OSError, ValueError) as error:
            raise MissingWeights(f"the captioner in {source} cannot be loaded: {error}") from error
        return captioner

    found: Captioner = loaded("captioner", source, load)
    return found


@dataclass(frozen=True)
class Look(Operator):
    """A caption of each picture or video (``kind``), as ``picture_caption``; one that is given is kept.

    ``captioner`` is a folder or a hub id, or empty: then the model ``model_name`` describes what it sees.
    """

    kind: Kind
    captioner: str = ""
    model_name: str = "nano"
    identity: str = ""
    name = "look"
    model = True

    def __call__(self, records: list[Record]) -> list[Outcome]:
        unseen = [record for record in records if "picture_caption" not in record.facts]
        pictures: dict[str, Any] = {}
        frames = self._frames() if unseen else 0

        def decode(record: Record) -> Outcome:
            pictures[record.id] = picture_of(record) if self.kind == "image" else frames_of(record, frames)
            return Outcome()

        outcomes = {record.id: attempt(decode, record) for record in unseen}
        shown = list(pictures.values())
        captions = dict(zip(pictures, self._describe(shown) if shown else []))
        for name, caption in captions.items():
            outcomes[name] = Outcome({"picture_caption": caption}, rejected=fault(caption, "picture"))
        return [outcomes.get(record.id, Outcome()) for record in records]

    def _frames(self) -> int:
        if self.captioner:
            return load_captioner(self.captioner).num_frames
        encoder = encoder_of(load_model(self.model_name), self.kind)
        return int(getattr(encoder, "num_frames", DEFAULT_FRAMES))

    def _describe(self, pictures: list[Any]) -> list[str]:
        if self.captioner:
            return self._by_captioner(pictures)
        model = load_model(self.model_name)
        encoder = encoder_of(model, self.kind)
        features = encode_batch(encoder, [encoder.prepare(picture) for picture in pictures])
        requests = [REQUESTS[self.kind]] * len(pictures)
        return answer_batch(model, self.kind, features, requests, CAPTION_TOKENS)

    def _by_captioner(self, pictures: list[Any]) -> list[str]:
        from PIL import Image

        from m2ugen.media.video import take

        captioner = load_captioner(self.captioner)
        if self.kind == "image":
            if captioner.num_frames > 1:
                raise InputError(f"{self.captioner} describes videos, not pictures")
            return captioner([[picture] for picture in pictures])
        shown = [[Image.fromarray(frame) for frame in take(frames, captioner.num_frames).array] for frames in pictures]
        return captioner(shown)
