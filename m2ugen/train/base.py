"""The frozen language model beneath a training: its precision, and 4-bit weights (QLoRA, arXiv 2305.14314)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from m2ugen.errors import MissingExtra
from m2ugen.model.modeling import M2UGenModel
from m2ugen.train.config import computes_bf16

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_options(quantise: str | None, base_dtype: str) -> dict[str, Any]:
    """What M2UGenModel.for_training takes: ``quantise`` is "4bit" (NF4, doubly quantised) or None;
    ``base_dtype`` "auto" is bfloat16 where training computes in it. What is trained stays in fp32.

    Raises MissingExtra without bitsandbytes.
    """
    dtype = _automatic() if base_dtype == "auto" else DTYPES[base_dtype]
    if quantise is None:
        return {"dtype": dtype}
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise MissingExtra("bitsandbytes", "train") from error
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        bnb_4bit_quant_storage=dtype,  # of a floating type, so that FSDP can shard it
    )
    return {"dtype": dtype, "quantization_config": config}


def keep_differentiable(model: M2UGenModel) -> None:
    """Keeps bitsandbytes from packing 4-bit weights for inference on a CPU, a form that gradients cannot pass."""
    modules: Iterable[Any] = model.modules()
    for module in modules:
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


@contextmanager
def half_precision_of(model: M2UGenModel) -> Iterator[None]:
    """Computes in the precision of the frozen matrices where that is less than fp32: what is trained is fp32."""
    weight = model.language_model.llama.lm_head.weight
    if weight.dtype == torch.float32:
        yield
        return
    with torch.autocast(weight.device.type, weight.dtype):
        yield


def _automatic() -> torch.dtype:
    return torch.bfloat16 if computes_bf16("cuda" if torch.cuda.is_available() else "cpu") else torch.float32
