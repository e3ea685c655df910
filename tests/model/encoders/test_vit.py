"""ViT: a published folder loads, and its features are transformers' on transformers' pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.encoders.vit import ViTEncoder

TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
PREPROCESSOR: dict[str, Any] = {  # as in google/vit-base-patch16-224-in21k, smaller
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.5, 0.5, 0.5],
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 32, "width": 32},
}


def published(folder: Path, **settings: Any) -> tuple[Path, ViTModel]:
    """A folder of the published layout, with the pooler's weights, and the model in it."""
    torch.manual_seed(0)
    model = ViTModel(ViTConfig(**TINY)).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR | settings))
    names = load_file(folder / "model.safetensors").keys()
    assert {"encoder.layer.1.attention.attention.query.weight", "pooler.dense.weight"} <= names
    return folder, model


def picture(width: int = 50, height: int = 41, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("settings", [{}, {"size": 32}, {"resample": 3, "image_mean": [0.4, 0.5, 0.6]}], ids=str)
def test_features_are_transformers(tmp_path: Path, settings: dict[str, Any]) -> None:
    folder, model = published(tmp_path, **settings)
    encoder = ViTEncoder.from_pretrained(folder)
    assert isinstance(encoder, Encoder) and (encoder.num_tokens, encoder.dim) == (17, 16)
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    images = [picture(), picture(7, 90, seed=1), picture(32, 32, seed=2)]
    expected = ViTImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")["pixel_values"]
    pixels = torch.stack([encoder.prepare(image)["pixel_values"] for image in images])
    assert pixels.dtype == torch.float32 and pixels.shape == (3, 3, 32, 32)
    torch.testing.assert_close(pixels, expected.float(), rtol=0, atol=1e-6)
    with torch.no_grad():
        wanted = model(expected.float()).last_hidden_state
    torch.testing.assert_close(encoder(pixel_values=pixels), wanted, rtol=1e-5, atol=1e-5)


def test_preprocessing_is_scaling_to_minus_one_and_one(tmp_path: Path) -> None:
    encoder = ViTEncoder.from_pretrained(published(tmp_path)[0])
    resized = picture().resize((32, 32), Image.Resampling.BILINEAR)
    expected = torch.from_numpy(np.asarray(resized, dtype=np.float32)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(encoder.prepare(picture())["pixel_values"], expected, rtol=0, atol=1e-6)
    grey = encoder.prepare(Image.new("L", (5, 300), 255))["pixel_values"]
    assert torch.equal(grey, torch.ones(3, 32, 32))


def test_a_batch_equals_its_pictures(tmp_path: Path) -> None:
    encoder = ViTEncoder.from_pretrained(published(tmp_path)[0])
    pixels = torch.stack([encoder.prepare(picture(seed=seed))["pixel_values"] for seed in range(3)])
    for row, alone in zip(encoder(pixel_values=pixels), pixels):
        torch.testing.assert_close(row, encoder(pixel_values=alone[None])[0], rtol=1e-5, atol=1e-5)


def test_weights_without_preprocessing_or_as_a_checkpoint_of_torch(tmp_path: Path) -> None:
    folder, model = published(tmp_path)
    expected = ViTEncoder.from_pretrained(folder).prepare(picture())["pixel_values"]
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    (folder / "preprocessor_config.json").unlink()
    torch.save({f"vit.{name}": tensor.half() for name, tensor in state.items()}, folder / "pytorch_model.bin")
    encoder = ViTEncoder.from_pretrained(folder)
    assert torch.equal(encoder.prepare(picture())["pixel_values"], expected)
    for name, parameter in encoder.model.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name).half().float())


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    folder, _ = published(tmp_path / "vit", size={"height": 24, "width": 24})
    with pytest.raises(InputError, match=r"pictures to \{'height': 24"):
        ViTEncoder.from_pretrained(folder)
    path = folder / "model.safetensors"
    state = load_file(path)
    del state["encoder.layer.0.output.dense.bias"]
    save_file(state | {"head.weight": torch.zeros(2)}, path)
    with pytest.raises(MissingWeights, match=r"misses layers\.0\.mlp\.fc2\.bias; has too much head\.weight"):
        ViTEncoder.from_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json cannot be read"):
        ViTEncoder.from_pretrained(folder)
    with pytest.raises(MissingWeights, match="nowhere"):
        ViTEncoder.from_pretrained(tmp_path / "nowhere")


def test_the_full_size_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        encoder = ViTEncoder(ViTModel(ViTConfig(), add_pooling_layer=False), ViTImageProcessorPil())
    layer = 4 * 768 * 769 + 768 * 3072 * 2 + 3072 + 768 + 4 * 768
    counted = 12 * layer + (3 * 16 * 16 + 1) * 768 + 198 * 768 + 2 * 768
    assert sum(parameter.numel() for parameter in encoder.parameters()) == counted
    assert counted + 768 * 769 == 86_389_248  # with the pooler of ViT-B/16-in21k
    assert (encoder.num_tokens, encoder.dim) == (197, 768)
