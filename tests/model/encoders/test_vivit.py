"""ViViT: a published folder loads, its features are transformers', and a video always counts with all its frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import VivitConfig, VivitForVideoClassification, VivitModel
from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

from m2ugen.errors import InputError
from m2ugen.media.video import Frames, load_video
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.encoders.vivit import ViViTEncoder

NUM_FRAMES = 6
TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 28,
    "num_frames": NUM_FRAMES,
    "tubelet_size": [2, 14, 14],
}
PREPROCESSOR: dict[str, Any] = {  # as in google/vivit-b-16x2-kinetics400, smaller
    "crop_size": {"height": 28, "width": 28},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "VivitImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "offset": True,
    "resample": 2,
    "rescale_factor": 1 / 127.5,
    "size": {"shortest_edge": 32},
}


def published(folder: Path, **settings: Any) -> tuple[Path, VivitModel]:
    """A folder of the published layout, a classifier of videos, and the model in it."""
    torch.manual_seed(0)
    model = VivitForVideoClassification(VivitConfig(**TINY)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | settings))
    names = load_file(folder / "model.safetensors").keys()
    assert {"vivit.encoder.layer.1.attention.attention.query.weight", "classifier.weight"} <= names
    return folder, model.vivit


def video(count: int, height: int = 40, width: int = 60, seed: int = 0) -> Frames:
    array = np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    return load_video((array, 10.0), num_frames=count)


@pytest.mark.parametrize("settings", [{}, {"offset": False, "rescale_factor": 1 / 255}], ids=str)
def test_features_are_transformers(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder, model = published(tmp_path, **settings)
    encoder = ViViTEncoder.from_pretrained(folder)
    assert isinstance(encoder, Encoder) and (encoder.num_tokens, encoder.dim) == (13, 16)
    assert encoder.num_frames == NUM_FRAMES
    clips = [video(NUM_FRAMES), video(NUM_FRAMES, 90, 31, seed=1)]
    processor = VivitImageProcessor.from_pretrained(folder)
    expected = torch.cat([processor(list(clip.array), return_tensors="pt")["pixel_values"] for clip in clips])
    pixels = torch.stack([encoder.prepare(clip)["pixel_values"] for clip in clips])
    assert pixels.dtype == torch.float32 and pixels.shape == (2, NUM_FRAMES, 3, 28, 28)
    torch.testing.assert_close(pixels, expected.float(), rtol=0, atol=1e-6)
    with torch.no_grad():
        wanted = model(expected.float()).last_hidden_state
    together = encoder(pixel_values=pixels)
    torch.testing.assert_close(together, wanted, rtol=1e-5, atol=1e-5)
    for row, alone in zip(together, pixels):
        torch.testing.assert_close(row, encoder(pixel_values=alone[None])[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 5, NUM_FRAMES, 7, 50])
def test_every_video_counts_with_all_its_frames(tmp_path: Path, count: int) -> None:
    encoder = ViViTEncoder.from_pretrained(published(tmp_path)[0])
    shades = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 28, 28, 3), dtype=np.uint8)
    pixels = encoder.prepare(load_video((shades, 5.0), num_frames=max(count, 1)))["pixel_values"]
    assert pixels.shape == (NUM_FRAMES, 3, 28, 28)
    seen = torch.round((pixels[:, 0, 0, 0] * 0.5 + 0.5 + 1) * 127.5).int().tolist()
    assert seen == sorted(seen) and len(set(seen)) == min(count, NUM_FRAMES)
    assert torch.isfinite(encoder(pixel_values=pixels[None])).all()


def test_preprocessing_is_optional_and_must_fit(tmp_path: Path) -> None:
    folder, _ = published(tmp_path, crop_size={"height": 20, "width": 20})
    with pytest.raises(InputError, match=r"pictures to \{'height': 20"):
        ViViTEncoder.from_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    expected = ViViTEncoder.from_pretrained(folder).prepare(video(3))["pixel_values"]
    (folder / "preprocessor_config.json").unlink()
    assert torch.equal(ViViTEncoder.from_pretrained(folder).prepare(video(3))["pixel_values"], expected)


def test_black_pictures_are_pictures(tmp_path: Path) -> None:
    """Neither their values nor a height of three may be taken for something else."""
    encoder = ViViTEncoder.from_pretrained(published(tmp_path)[0])
    black = Frames(np.zeros((2, 3, 5, 3), dtype=np.uint8), np.array([0.0, 1.0]), 2.0, 1.0)
    assert torch.equal(encoder.prepare(black)["pixel_values"], torch.full((NUM_FRAMES, 3, 28, 28), -3.0))


def test_the_full_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = ViViTEncoder(VivitModel(VivitConfig(), add_pooling_layer=False), VivitImageProcessor())
    layer = 4 * 768 * 769 + 768 * 3072 * 2 + 3072 + 768 + 4 * 768
    counted = 12 * layer + (3 * 2 * 16 * 16 + 1) * 768 + 3138 * 768 + 2 * 768
    assert sum(parameter.numel() for parameter in encoder.parameters()) == counted
    assert counted + 400 * 769 == 88_954_000  # with the classifier of ViViT-B-16x2-kinetics400
    assert (encoder.num_tokens, encoder.dim, encoder.num_frames) == (3137, 768, 32)
