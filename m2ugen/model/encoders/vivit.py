"""ViViT (arXiv 2103.15691), the paper's eye for videos: the last hidden states of every tubelet and the class token."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from transformers import VivitModel
from transformers.models.vivit.image_processing_vivit import VivitImageProcessor

from m2ugen.media.video import Frames, take
from m2ugen.model.encoders.pretrained import (
    VisionEncoder,
    check_picture_size,
    load_vision_model,
    picture_size,
    read_preprocessor,
)


class ViViTEncoder(VisionEncoder):
    """Videos to hidden states [batch, 1 + tubelets, hidden].

    A video counts with ``num_frames`` pictures, evenly spaced over all of it.
    """

    def __init__(self, model: VivitModel, processor: VivitImageProcessor) -> None:
        super().__init__(model, processor)
        self.num_frames: int = model.config.num_frames

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The encoder in ``folder``, in the format of google/vivit-b-16x2-kinetics400: config.json, weights,
        preprocessor_config.json (without it, the published settings). Raises MissingWeights, InputError.
        """
        folder = Path(folder)
        model = load_vision_model(folder, VivitModel)
        taken = picture_size(model.config.image_size)
        defaults = {"size": {"shortest_edge": min(taken.values()) * 8 // 7}, "crop_size": taken}  # 256 for 224
        processor = VivitImageProcessor.from_dict(defaults | read_preprocessor(folder))
        check_picture_size(folder, processor.to_dict()["crop_size" if processor.do_center_crop else "size"], taken)
        return cls(model, processor)

    def prepare(self, media: Frames) -> dict[str, torch.Tensor]:
        """``pixel_values`` float32 [num_frames, 3, height, width].

        Of a video with fewer pictures each is repeated for as long as it is shown, in their order.
        """
        pictures = list(take(media, self.num_frames).array)
        pixels = self.processor(pictures, return_tensors="pt", input_data_format="channels_last")["pixel_values"][0]
        return {"pixel_values": pixels.float()}
