"""The MusicGen decoder: a published model driven by conditioning in place of its T5 text states."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.audio import load_audio
from m2ugen.model.decoders.base import Music, Progress
from m2ugen.model.decoders.musicgen.chroma import melody_window
from m2ugen.model.decoders.musicgen.codec import Codec
from m2ugen.model.decoders.musicgen.sampling import CodeSampling, draw_codes
from m2ugen.model.decoders.musicgen.transformer import CodeTransformer, Conditions

MAX_DURATION = 600.0  # seconds
DRAWING_SHARE = 0.95  # of the progress; the rest is for making the codes audible
# Padding rows of text states are zero, but a projector that was trained to give zeros comes only near them. Rows of
# less than this share of the largest row's norm count as padding; T5's rows of one text differ by far less.
PADDING_LEVEL = 0.1
CLASSES = {"musicgen": "MusicgenForConditionalGeneration", "musicgen_melody": "MusicgenMelodyForConditionalGeneration"}


class MusicGenDecoder(nn.Module):
    """MusicGen (arXiv 2306.05284) of any published size: mono, stereo, melody.

    The conditioning stands where the states of MusicGen's T5 stand, before their projection to the transformer's
    width. Rows of zeros in it are padding. Music longer than ``window`` seconds, the length of MusicGen's training
    examples, is continued from its last ``overlap`` seconds as often as needed.
    """

    def __init__(
        self, model: Any, tokenizer: Any = None, num_tokens: int = 128, window: float = 30.0, overlap: float = 12.0,
        int8: bool = False,
    ) -> None:  # fmt: skip
        """``model`` is transformers' ``Musicgen(Melody)ForConditionalGeneration``, and is used up; ``tokenizer`` its
        T5 tokenizer, without which ``encode_text`` cannot be used. ``num_tokens``: rows of the conditioning.
        """
        super().__init__()
        if not 0 < overlap < window:
            raise InputError(f"overlap is {overlap} s; it must be above 0 and below the window of {window} s")
        config = model.config
        self.tokenizer = tokenizer
        self.text_encoder = model.text_encoder
        self.codec = Codec(model.audio_encoder)
        self.text_projection = getattr(model, "enc_to_dec_proj", nn.Identity())
        self.takes_melody = config.model_type == "musicgen_melody"
        if self.takes_melody:
            self.chroma_projection = getattr(model, "audio_enc_to_dec_proj", nn.Identity())
            self.num_chroma: int = config.num_chroma
            self.chroma_length: int = config.chroma_length
        self.channels: int = config.decoder.audio_channels
        self.transformer = CodeTransformer(model.decoder, int8)
        self.conditioning_shape = (num_tokens, int(config.text_encoder.hidden_size))
        self.sample_rate = self.codec.sample_rate
        self.frame_rate = self.sample_rate / self.codec.hop_length
        self.window = window
        self.overlap = overlap

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        num_tokens: int = 128,
        window: float = 30.0,
        overlap: float = 12.0,
        dtype: str = "float32",
        quantise: str | None = None,
    ) -> MusicGenDecoder:
        """A folder as published for facebook/musicgen-*: config.json, weights (safetensors or ``pytorch_model.bin``,
        whole or in shards) and the T5 tokenizer's files.

        ``dtype`` is the transformer's ("float32", "bfloat16", "float16"); text encoder and EnCodec, a small part of
        the whole, stay in float32. ``quantise="int8"`` rounds the transformer's matrices to 8 bits: a quarter of the
        memory, and several times the speed on a CPU. Raises MissingWeights and InputError.
        """
        folder = Path(folder)
        if dtype not in ("float32", "bfloat16", "float16"):
            raise InputError(f"dtype is {dtype!r}; use float32, bfloat16 or float16")
        if quantise not in (None, "int8"):
            raise InputError(f"quantise is {quantise!r}; use 'int8' or None")
        model = _load(folder, getattr(torch, dtype))
        tokenizer = None
        if any((folder / name).is_file() for name in ("tokenizer.json", "spiece.model")):
            from transformers import AutoTokenizer

            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        decoder = cls(model, tokenizer, num_tokens, window, overlap, int8=quantise == "int8")
        return decoder.eval().requires_grad_(False)

    @torch.no_grad()
    def encode_text(self, captions: Sequence[str]) -> torch.Tensor:
        """T5's states [captions, num_tokens, dim]: what the output projector learns to give. Longer captions are cut,
        and shorter ones end in rows of zeros. Raises MissingWeights without a tokenizer.
        """
        if self.tokenizer is None:
            raise MissingWeights("the MusicGen folder has no tokenizer: add tokenizer.json and tokenizer_config.json")
        tokens = self.tokenizer(
            list(captions),
            padding="max_length",
            max_length=self.conditioning_shape[0],
            truncation=True,
            return_tensors="pt",
        ).to(self.text_encoder.device)
        mask = tokens["attention_mask"]
        states = self.text_encoder(input_ids=tokens["input_ids"], attention_mask=mask).last_hidden_state
        return states * mask[..., None]

    def generate(
        self,
        conditioning: torch.Tensor,
        duration: float,
        guidance_scale: float | None = None,
        seed: int | None = None,
        melody: Any = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> Music:
        """Music of ``duration`` seconds, exactly, from conditioning [1, N, D]; as ``generate_batch``."""
        if conditioning.dim() != 3 or len(conditioning) != 1:
            raise InputError(f"generate takes conditioning [1, N, D], not {list(conditioning.shape)}")
        seeds = None if seed is None else [seed]
        return self.generate_batch(conditioning, duration, guidance_scale, seeds, melody, progress, **options)[0]

    def generate_batch(
        self,
        conditioning: torch.Tensor,
        duration: float,
        guidance_scale: float | None = None,
        seeds: Sequence[int] | None = None,
        melody: Any = None,
        progress: Progress | None = None,
        **options: Any,
    ) -> list[Music]:
        """Music of ``duration`` seconds (up to 600) for each row of ``conditioning`` [batch, N, D], together.

        ``guidance_scale``: 3 unless given. ``seeds``: one for each row, drawn when not given; a row comes out as it
        would alone. ``melody``, for models that take one: a recording, ([channels, samples], rate), whose tune all
        rows follow. ``options``: ``temperature``, ``top_k`` and ``top_p`` as in CodeSampling. Raises InputError.
        """
        if guidance_scale is not None:
            options["guidance_scale"] = guidance_scale
        try:
            sampling = CodeSampling(**options)
        except TypeError as error:
            raise InputError(f"MusicGen's options are temperature, top_k and top_p, not {sorted(options)}") from error
        if not 0 < duration <= MAX_DURATION:
            raise InputError(f"a duration of {duration} s is not possible; use above 0 and up to {MAX_DURATION:g} s")
        seeds = list(seeds) if seeds is not None else [torch.Generator().seed() for _ in conditioning]
        if len(seeds) != len(conditioning):
            raise InputError(f"there are {len(seeds)} seeds for {len(conditioning)} rows of conditioning; give as many")
        report = progress or (lambda fraction: None)
        codes = self.generate_codes(
            conditioning, math.ceil(duration * self.frame_rate - 1e-6), sampling, seeds, melody,
            lambda fraction: report(DRAWING_SHARE * fraction),
        )  # fmt: skip
        audio = self.decode_codes(codes, lambda fraction: report(DRAWING_SHARE + (1 - DRAWING_SHARE) * fraction))
        samples = round(duration * self.sample_rate)
        return [Music(row[:, :samples], self.sample_rate) for row in audio]

    @torch.inference_mode()
    def generate_codes(
        self,
        conditioning: torch.Tensor,
        frames: int,
        sampling: CodeSampling,
        seeds: Sequence[int],
        melody: Any = None,
        progress: Progress | None = None,
    ) -> torch.Tensor:
        """The audio codes [batch, codebooks, frames] of ``generate_batch``; stereo models have the codebooks of left
        and right in turns.
        """
        texts = self._texts(conditioning)
        tune = self._tune(melody)
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        window = round(self.window * self.frame_rate)
        overlap = min(max(1, round(self.overlap * self.frame_rate)), window - 1)
        device = self.transformer.embedding.weight.device
        codes = torch.empty(len(texts), self.transformer.num_codebooks, 0, dtype=torch.long, device=device)
        counter = _counter(frames, progress)
        while codes.shape[-1] < frames:
            known = codes[..., -overlap:] if codes.shape[-1] else None
            before = codes.shape[-1] - (0 if known is None else known.shape[-1])
            drawn = draw_codes(
                self.transformer,
                self._conditions(texts, sampling.guided, tune, before / self.frame_rate),
                min(window, frames - before),
                sampling,
                generators,
                known,
                self.channels,
                counter,
            )
            codes = torch.cat([codes[..., :before], drawn], dim=-1)
        return codes

    def decode_codes(self, codes: torch.Tensor, progress: Progress | None = None) -> np.ndarray:
        """Audio [batch, channels, samples], float32 in [-1, 1], of the codes of ``generate_codes``. Music that would
        leave that range is made softer as a whole.
        """
        batch = len(codes)
        rows = codes.unflatten(1, (-1, self.channels)).transpose(1, 2).flatten(0, 1)  # [batch · channels, codebooks, _]
        audio = self.codec(rows, progress).unflatten(0, (batch, self.channels))
        peaks = audio.abs().amax(dim=(1, 2), keepdim=True).clamp(min=1)
        result: np.ndarray = (audio / peaks).cpu().numpy()
        return result

    def _texts(self, conditioning: torch.Tensor) -> list[torch.Tensor]:
        """Each row's states [tokens, hidden] at the transformer's width, without padding. Raises InputError."""
        dim = self.conditioning_shape[1]
        if conditioning.dim() != 3 or conditioning.shape[-1] != dim or 0 in conditioning.shape:
            raise InputError(f"the conditioning is {list(conditioning.shape)}; this MusicGen takes [batch, N, {dim}]")
        weight = self.transformer.embedding.weight
        states = conditioning.to(weight.device, torch.float32)
        norms = states.norm(dim=-1)  # [batch, N]
        largest = norms.amax(dim=1, keepdim=True)
        if not torch.isfinite(norms).all() or not (largest > 0).all():
            raise InputError("the conditioning has rows that are not finite, or nothing but zeros; compute it anew")
        kept = norms > PADDING_LEVEL * largest
        return [self.text_projection(row[keep]).to(weight.dtype) for row, keep in zip(states, kept)]

    def _tune(self, melody: Any) -> torch.Tensor | None:
        """The mono samples of a melody. Raises InputError."""
        if melody is None:
            return None
        if not self.takes_melody:
            raise InputError("this MusicGen takes no melody; use a melody model such as facebook/musicgen-melody")
        audio = load_audio(melody, sample_rate=self.sample_rate, mono=True)
        return torch.from_numpy(np.ascontiguousarray(audio.samples[0])).to(self.transformer.embedding.weight.device)

    def _conditions(
        self, texts: list[torch.Tensor], guided: bool, tune: torch.Tensor | None, start: float
    ) -> Conditions:
        """What the rows listen to in a window that begins at ``start`` seconds."""
        lengths = torch.tensor([len(text) for text in texts], device=texts[0].device)
        longest = int(lengths.max())
        rows = len(texts) * (2 if guided else 1)
        if not self.takes_melody:
            memory = nn.utils.rnn.pad_sequence(texts, batch_first=True)
            mask = torch.arange(longest, device=memory.device) < lengths[:, None]
            return Conditions(rows, memory, None if bool(mask.all()) else mask)
        # melody models have tune and text before the codes; unguided rows have the silent tune and zeros
        silence = torch.zeros(1, self.num_chroma, device=texts[0].device)
        silence[:, 0] = 1
        silence = silence.expand(self.chroma_length, -1)
        heard = silence
        if tune is not None:
            heard = melody_window(tune, self.sample_rate, start, self.chroma_length, self.num_chroma)
        tunes = [heard] * len(texts) + [silence] * (rows - len(texts))
        if guided:
            texts = texts + [torch.zeros_like(text) for text in texts]
        prefix = [torch.cat([self.chroma_projection(each).to(text), text]) for each, text in zip(tunes, texts)]
        padding = longest - lengths.repeat(rows // len(lengths))
        return Conditions(
            rows,
            prefix=nn.utils.rnn.pad_sequence(prefix, batch_first=True, padding_side="left"),
            padding=padding if bool(padding.any()) else None,
        )


def _counter(frames: int, progress: Progress | None) -> Callable[[], None] | None:
    """Something to call after each of ``frames`` frames, which reports the finished fraction."""
    if progress is None:
        return None
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        progress(done / frames)

    return count


def _load(folder: Path, dtype: torch.dtype) -> Any:
    """transformers' model of ``folder``. Raises MissingWeights and InputError."""
    import transformers

    if not (folder / "config.json").is_file():
        raise MissingWeights(
            f"there is no MusicGen in {folder}: download facebook/musicgen-small or a larger one there"
        )
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except ValueError as error:
        raise MissingWeights(f"{folder / 'config.json'} is damaged; download the folder again") from error
    if kind not in CLASSES:
        raise MissingWeights(f"{folder} holds a {kind} model, not a MusicGen; download facebook/musicgen-small there")
    dtypes = {"decoder": dtype, "": torch.float32}
    try:
        model, loaded = getattr(transformers, CLASSES[kind]).from_pretrained(
            folder, local_files_only=True, dtype=dtypes, output_loading_info=True
        )
    except OSError as error:
        raise MissingWeights(f"the weights in {folder} are missing or damaged; download the folder again") from error
    if loaded["missing_keys"]:
        names = sorted(loaded["missing_keys"])
        raise MissingWeights(f"the weights in {folder} lack {names[0]} and {len(names) - 1} more; download them again")
    return model
