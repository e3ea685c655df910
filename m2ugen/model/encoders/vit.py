"""ViT (arXiv 2010.11929), the paper's eye for pictures: the last hidden states of every patch and the class token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from torch import nn
from transformers import ViTConfig, ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from m2ugen.errors import InputError
from m2ugen.model.encoders.pretrained import (
    PREPROCESSOR,
    load_state,
    picture_size,
    read_config,
    read_preprocessor,
    read_state,
    settings_tensor,
    vision_state,
)

if TYPE_CHECKING:
    from PIL.Image import Image

UNUSED = ("pooler.", "classifier.")  # heads in published files that the hidden states do not pass


class ViTEncoder(nn.Module):
    """Pictures to hidden states [batch, 1 + patches, hidden].

    ``model`` is transformers' without its pooler, ``processor`` scales and normalises pictures as it was trained on.
    """

    def __init__(self, model: ViTModel, processor: ViTImageProcessorPil) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.num_tokens = model.embeddings.position_embeddings.shape[1]
        self.dim = model.config.hidden_size
        self.register_buffer("settings", settings_tensor(**processor.to_dict()))
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The encoder in ``folder``, in the format of google/vit-base-patch16-224-in21k: config.json, weights,
        preprocessor_config.json (without it, the published settings). Raises MissingWeights, InputError.
        """
        folder = Path(folder)
        config = read_config(folder, ViTConfig)
        with torch.device("meta"):
            model = ViTModel(config, add_pooling_layer=False)
        load_state(model, vision_state(read_state(folder), "vit.", UNUSED), folder)
        taken = picture_size(config.image_size)
        processor = ViTImageProcessorPil.from_dict({"size": taken, **read_preprocessor(folder)})
        if (given := processor.to_dict()["size"]) != taken:
            raise InputError(f"{folder / PREPROCESSOR} brings pictures to {given}, but the model takes {taken}")
        return cls(model, processor)

    def prepare(self, media: Image) -> dict[str, torch.Tensor]:
        """``pixel_values`` float32 [3, height, width] of a picture of any size."""
        pixels = self.processor(media.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels.float()}

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """``pixel_values`` [batch, 3, height, width] → [batch, num_tokens, dim]."""
        hidden_states: torch.Tensor = self.model(pixel_values).last_hidden_state
        return hidden_states
