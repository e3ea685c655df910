"""Tiny models of the paper's captioners and writers, taught to say something and saved as the published ones are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    BlipConfig,
    BlipForConditionalGeneration,
    GPT2Config,
    MptConfig,
    MptForCausalLM,
    PreTrainedTokenizerFast,
    TimesformerConfig,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

WORDS = ["a", "red", "blue", "picture", "square", "video", "of", "something", "that", "moves"]
SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")
PAD, BOS, EOS = 0, 2, 3
SIDE, FRAMES = 32, 4
SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}


def word_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: k for k, word in enumerate((*SPECIAL, *WORDS))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", bos_token="[BOS]", eos_token="[EOS]"
    )


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token for each byte and for the marks of ChatML; no chat template, as MPT's."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE({letter: k for k, letter in enumerate(alphabet)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # type: ignore[assignment]
    inner.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|endoftext|>")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


def teach(parameters: Any, loss: Callable[[], torch.Tensor], goal: float = 0.02, steps: int = 400) -> None:
    """Train until the loss is below ``goal``."""
    optimiser = torch.optim.AdamW(list(parameters), lr=3e-3)
    value = torch.tensor(torch.inf)
    for _ in range(steps):
        value = loss()
        if value.item() < goal:
            return
        optimiser.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    raise AssertionError(f"the twin did not learn: {value.item():.3f}")


def captions_of(kind: str) -> dict[str, list[int]]:
    """What is said to each colour, as tokens."""
    tokenizer = word_tokenizer()
    said = {"red": f"a red {kind}", "blue": f"a {kind} of something blue that moves"}
    return {colour: [BOS, *tokenizer(text)["input_ids"], EOS] for colour, text in said.items()}


def padded(rows: Sequence[list[int]]) -> torch.Tensor:
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


def save_blip(folder: Path) -> Path:
    """A BLIP that tells red pictures from blue ones."""
    torch.manual_seed(0)
    text = {**SIZES, "vocab_size": len(SPECIAL) + len(WORDS), "max_position_embeddings": 32, "encoder_hidden_size": 32}
    tokens = {"bos_token_id": BOS, "eos_token_id": EOS, "sep_token_id": EOS, "pad_token_id": PAD}
    vision = {**SIZES, "image_size": SIDE, "patch_size": 16}
    model = BlipForConditionalGeneration(BlipConfig(text_config={**text, **tokens}, vision_config=vision))
    processor = BlipImageProcessorPil(size={"height": SIDE, "width": SIDE})
    captions = captions_of("picture")
    pixels = processor([Image.new("RGB", (60, 40), colour) for colour in captions], return_tensors="pt")["pixel_values"]
    ids = padded(list(captions.values()))
    labels = ids.masked_fill(ids == PAD, -100)

    def loss() -> torch.Tensor:
        found = model(pixel_values=pixels, input_ids=ids, attention_mask=(ids != PAD).long(), labels=labels).loss
        return torch.as_tensor(found)

    teach(model.parameters(), loss, goal=0.2)  # BLIP's labels are smoothed: its loss does not go to zero
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def save_timesformer_gpt2(folder: Path) -> Path:
    """A TimeSformer-GPT2 that tells red videos from blue ones."""
    torch.manual_seed(0)
    encoder = TimesformerConfig(**SIZES, image_size=SIDE, patch_size=16, num_frames=FRAMES)
    decoder = GPT2Config(
        vocab_size=len(SPECIAL) + len(WORDS), n_positions=40, n_embd=32, n_layer=1, n_head=2,
        add_cross_attention=True, is_decoder=True, bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = BOS, PAD, EOS
    model: Any = VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = BOS
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = PAD, EOS
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE})
    captions = captions_of("video")
    clips = [[np.array(Image.new("RGB", (60, 40), colour))] * FRAMES for colour in captions]
    videos = [processor(clip, return_tensors="pt")["pixel_values"] for clip in clips]
    pixels = torch.cat([video if video.ndim == 5 else video[None] for video in videos])
    ids = padded([row[1:] for row in captions.values()])
    labels = ids.masked_fill(ids == PAD, -100)
    teach(model.parameters(), lambda: torch.as_tensor(model(pixel_values=pixels, labels=labels).loss))
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


def save_mpt(folder: Path, prompts: Sequence[str], answer: str) -> Path:
    """An MPT that answers ``prompts`` (texts up to where it is to write) with ``answer``."""
    torch.manual_seed(0)
    tokenizer = byte_tokenizer()
    model: Any = MptForCausalLM(
        MptConfig(d_model=48, n_heads=4, n_layers=2, expansion_ratio=2, max_seq_len=2048, vocab_size=len(tokenizer))
    )
    rows = [tokenizer(prompt, add_special_tokens=False)["input_ids"][-60:] for prompt in prompts]
    ending = tokenizer(answer + "<|im_end|>", add_special_tokens=False)["input_ids"]
    width = min(map(len, rows))
    ids = torch.tensor([row[-width:] + ending for row in rows])
    labels = ids.clone()
    labels[:, :width] = -100
    teach(model.parameters(), lambda: torch.as_tensor(model(input_ids=ids, labels=labels).loss), goal=0.01)
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
