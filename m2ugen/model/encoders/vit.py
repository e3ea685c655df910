"""ViT (arXiv 2010.11929), the paper's eye for pictures: the last hidden states of every patch and the class token."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self

import torch
from transformers import ViTModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from m2ugen.model.encoders.pretrained import (
    VisionEncoder,
    check_picture_size,
    load_vision_model,
    picture_size,
    read_preprocessor,
)

if TYPE_CHECKING:
    from PIL.Image import Image


class ViTEncoder(VisionEncoder):
    """Pictures to hidden states [batch, 1 + patches, hidden]."""

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The encoder in ``folder``, in the format of google/vit-base-patch16-224-in21k: config.json, weights,
        preprocessor_config.json (without it, the published settings). Raises MissingWeights, InputError.
        """
        folder = Path(folder)
        model = load_vision_model(folder, ViTModel)
        taken = picture_size(model.config.image_size)
        processor = ViTImageProcessorPil.from_dict({"size": taken, **read_preprocessor(folder)})
        check_picture_size(folder, processor.to_dict()["size"], taken)
        return cls(model, processor)

    def prepare(self, media: Image) -> dict[str, torch.Tensor]:
        """``pixel_values`` float32 [3, height, width] of a picture of any size."""
        pixels = self.processor(media.convert("RGB"), return_tensors="pt")["pixel_values"][0]
        return {"pixel_values": pixels.float()}
