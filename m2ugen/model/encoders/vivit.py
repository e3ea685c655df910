"""ViViT (arXiv 2103.15691), the paper's eye for videos: the last hidden states of every tubelet and the class token."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import nn
from transformers import VivitConfig, VivitModel
from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

from m2ugen.errors import InputError
from m2ugen.media.video import Frames, take
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

UNUSED = ("pooler.", "classifier.")  # heads in published files that the hidden states do not pass


class ViViTEncoder(nn.Module):
    """Videos to hidden states [batch, 1 + tubelets, hidden].

    ``model`` is transformers' without its pooler, ``processor`` scales, crops and normalises pictures as it was
    trained on. A video counts with ``num_frames`` pictures, evenly spaced over all of it.
    """

    def __init__(self, model: VivitModel, processor: VivitImageProcessor) -> None:
        super().__init__()
        self.model = model
        self.processor = processor
        self.num_frames: int = model.config.num_frames
        self.num_tokens = model.embeddings.position_embeddings.shape[1]
        self.dim = model.config.hidden_size
        self.register_buffer("settings", settings_tensor(**processor.to_dict()))
        self.requires_grad_(False).eval()

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The encoder in ``folder``, in the format of google/vivit-b-16x2-kinetics400: config.json, weights,
        preprocessor_config.json (without it, the published settings). Raises MissingWeights, InputError.
        """
        folder = Path(folder)
        config = read_config(folder, VivitConfig)
        with torch.device("meta"):
            model = VivitModel(config, add_pooling_layer=False)
        load_state(model, vision_state(read_state(folder), "vivit.", UNUSED), folder)
        taken = picture_size(config.image_size)
        defaults = {"size": {"shortest_edge": min(taken.values()) * 8 // 7}, "crop_size": taken}  # 256 for 224
        processor = VivitImageProcessor.from_dict(defaults | read_preprocessor(folder))
        given = processor.to_dict()["crop_size" if processor.do_center_crop else "size"]
        if given != taken:
            raise InputError(f"{folder / PREPROCESSOR} brings pictures to {given}, but the model takes {taken}")
        return cls(model, processor)

    def prepare(self, media: Frames) -> dict[str, torch.Tensor]:
        """``pixel_values`` float32 [num_frames, 3, height, width].

        Of a video with fewer pictures each is repeated for as long as it is shown, in their order.
        """
        pictures = list(take(media, self.num_frames).array)
        pixels = self.processor(pictures, return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]
        return {"pixel_values": pixels.float()}

    @torch.no_grad()
    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """``pixel_values`` [batch, num_frames, 3, height, width] → [batch, num_tokens, dim]."""
        hidden_states: torch.Tensor = self.model(pixel_values).last_hidden_state
        return hidden_states
