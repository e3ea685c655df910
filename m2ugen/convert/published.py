"""Reads checkpoints of the published M²UGen implementation: their names, their rotary order, their vocabulary.

``{"model": state_dict}`` in a pickle, read without running code. Keys of frozen parts (``mert_model.`` and the like)
are left to those parts' own sources.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch

from m2ugen.config import NUM_AUDIO_TOKENS, M2UGenConfig
from m2ugen.errors import InputError

FROZEN = ("mert_model.", "vit_model.", "vivit_model.", "generation_model.", "llama.rope")
ADAPTERS = {"mu_mert": "music", "iu_vit": "image", "iu_vivit": "video"}
LINEARS = {
    "attention.wq": "self_attn.q_proj",
    "attention.wk": "self_attn.k_proj",
    "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
}
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
BLOCK_PARTS = {"norm": "norm", "f1": "gate", "f2": "down", "f3": "up"}
PROJECTOR_PARTS = {"query_embs": "queries", "fc": "fc", "tfm": "transformer", "model": "output"}

Named = tuple[str, torch.Tensor]


def read_published(path: str | Path) -> dict[str, torch.Tensor]:
    """The tensors of a published checkpoint by their published names, without ``module.`` prefixes.

    Raises InputError when the file is not such a checkpoint.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a checkpoint: {error}") from error
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path} has no 'model' entry: it is not a published M2UGen checkpoint")
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def convert_published(state: dict[str, torch.Tensor], config: M2UGenConfig) -> dict[str, torch.Tensor]:
    """``state`` with published names → a (partial) state of M2UGenModel of the sizes in ``config``.

    Raises InputError for names that are not known.
    """
    converted: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(FROZEN):
            converted.update(convert_tensor(name, tensor, config))
    return converted


def convert_tensor(name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Iterator[Named]:
    """The tensors that one published tensor (or its gradient) becomes: none for parts that this model has not,
    two for the vocabulary's matrices, whose last rows are the [AUD] tokens'.
    """
    if found := re.fullmatch(rf"({'|'.join(ADAPTERS)})_(agg|proj|(norm|f[123])_(\d+))\.(weight|bias)", name):
        family, part, kind, block, leaf = found.groups()
        names = {"agg": "aggregate", "proj": "project"}
        inner = names[part] if part in names else f"blocks.{int(block) - 1}.{BLOCK_PARTS[kind]}"
        yield f"adapters.{ADAPTERS[family]}.{inner}.{leaf}", tensor
    elif found := re.fullmatch(r"output_projector\.(query_embs|fc|tfm|model)(\..+)?", name):
        yield f"projector.{PROJECTOR_PARTS[found[1]]}{found[2] or ''}", tensor
    elif name == "prefix_query.weight":
        yield "language_model.prefix_query.weight", tensor
    elif found := re.fullmatch(r"llama\.layers\.(\d+)\.(.+)", name):
        yield from _layer_tensor(int(found[1]), found[2], tensor, config)
    elif name == "llama.norm.weight":
        yield "language_model.llama.model.norm.weight", tensor
    elif name == "llama.tok_embeddings.weight":
        yield "language_model.llama.model.embed_tokens.weight", tensor[:-NUM_AUDIO_TOKENS]
        yield "language_model.audio_embeddings.weight", tensor[-NUM_AUDIO_TOKENS:]
    elif name == "llama.output.weight":
        yield "language_model.llama.lm_head.weight", tensor[:-NUM_AUDIO_TOKENS]
        yield "language_model.audio_head.weight", tensor[-NUM_AUDIO_TOKENS:]
    else:
        raise InputError(f"unknown tensor {name!r}: this is not a published M2UGen checkpoint")


def _layer_tensor(layer: int, name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Iterator[Named]:
    prefix = f"language_model.llama.model.layers.{layer}"
    llama = config.language_model
    if name == "attention.gate":
        if layer >= llama.num_hidden_layers - config.num_adapted_layers:  # the others were never used
            yield f"{prefix}.self_attn.gate", tensor.flatten()
        return
    stem, leaf = name.rsplit(".", 1)
    if stem in NORMS:
        yield f"{prefix}.{NORMS[stem]}.{leaf}", tensor
        return
    low_rank = re.fullmatch(r"(attention|feed_forward)\.lora_(w[qkvo123])_l([12])", stem)
    published = f"{low_rank[1]}.{low_rank[2]}" if low_rank else stem
    if published not in LINEARS:
        raise InputError(f"unknown tensor 'llama.layers.{layer}.{name}': this is not a published M2UGen checkpoint")
    linear = f"{prefix}.{LINEARS[published]}"
    by_output = low_rank is None or low_rank[3] == "2"  # its rows are the linear layer's outputs
    if by_output and published in ("attention.wq", "attention.wk"):
        heads = llama.num_attention_heads if published == "attention.wq" else llama.num_key_value_heads
        tensor = halves_from_pairs(tensor, heads or llama.num_attention_heads)
    if low_rank:
        yield f"{linear}.lora_{'up' if by_output else 'down'}.weight", tensor
    elif leaf == "bias":
        yield f"{linear}.bias", tensor
    else:
        yield f"{linear}.base.weight", tensor


def halves_from_pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows [heads * head_dim, …] of a rotated projection in transformers' order: Meta's files rotate neighbouring
    pairs of a head's rows, transformers its two halves.
    """
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)
