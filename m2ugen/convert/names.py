"""Names and layouts of the published implementations ↔ those of this package, tensor by tensor.

Meta's LLaMA files carry the same names as the language model in a published checkpoint, without ``llama.``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from m2ugen.config import M2UGenConfig
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
ROTATED = ("attention.wq", "attention.wk")
NORMS = {"attention_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
BLOCK_PARTS = {"norm": "norm", "f1": "gate", "f2": "down", "f3": "up"}
PROJECTOR_PARTS = {"query_embs": "queries", "fc": "fc", "tfm": "transformer", "model": "output"}
LLAMA = "language_model.llama."
# Matrices over the vocabulary: published name → ours, and ours of the last rows, which are the [AUD] tokens'.
VOCABULARY = {
    "llama.tok_embeddings.weight": (f"{LLAMA}model.embed_tokens.weight", "language_model.audio_embeddings.weight"),
    "llama.output.weight": (f"{LLAMA}lm_head.weight", "language_model.audio_head.weight"),
}

Named = tuple[str, torch.Tensor]


# -- published → ours --------------------------------------------------------------------------------------------


def convert_tensor(name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Iterator[Named]:
    """The tensors that one published tensor (or its gradient) becomes: none for parts that this model has not,
    two for the vocabulary's matrices, whose last rows are the [AUD] tokens' where the checkpoint knows them.

    Raises InputError for a name that is not known.
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
        yield f"{LLAMA}model.norm.weight", tensor
    elif name in VOCABULARY:
        words, audio = VOCABULARY[name]
        size = config.language_model.vocab_size
        yield words, tensor[:size]
        if len(tensor) > size:
            yield audio, tensor[size:]
    else:
        raise InputError(f"unknown tensor {name!r}: this is not a published M2UGen checkpoint")


def _layer_tensor(layer: int, name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Iterator[Named]:
    prefix = f"{LLAMA}model.layers.{layer}"
    layers = config.language_model.num_hidden_layers
    if name == "attention.gate":
        if layer >= layers - config.num_adapted_layers:  # the others were never used
            yield f"{prefix}.self_attn.gate", tensor.flatten()
        return
    stem, leaf = name.rsplit(".", 1) if "." in name else (name, "")
    if stem in NORMS:
        yield f"{prefix}.{NORMS[stem]}.{leaf}", tensor
        return
    low_rank = re.fullmatch(r"(attention|feed_forward)\.lora_(w[qkvo123])_l([12])", stem)
    published = f"{low_rank[1]}.{low_rank[2]}" if low_rank else stem
    if published not in LINEARS:
        raise InputError(f"unknown tensor 'llama.layers.{layer}.{name}': this is not a published M2UGen checkpoint")
    linear = f"{prefix}.{LINEARS[published]}"
    by_output = low_rank is None or low_rank[3] == "2"  # its rows are the linear layer's outputs
    if by_output and published in ROTATED:
        tensor = halves_from_pairs(tensor, _heads(published, config))
    if low_rank:
        yield f"{linear}.lora_{'up' if by_output else 'down'}.weight", tensor
    elif leaf == "bias":
        yield f"{linear}.bias", tensor
    elif layer >= layers - config.num_tuned_layers:
        yield f"{linear}.base.weight", tensor
    else:
        yield f"{linear}.weight", tensor


# -- ours → published --------------------------------------------------------------------------------------------


def published_tensor(name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Named | None:
    """The published tensor that one of ours becomes; None for the [AUD] tokens' rows, which stand below the
    vocabulary's (``published_vocabulary``).

    Raises InputError for a tensor that the published model has no place for.
    """
    if name in (pair[1] for pair in VOCABULARY.values()):
        return None
    for published, (words, _) in VOCABULARY.items():
        if name == words:
            return published, tensor
    if found := re.fullmatch(r"adapters\.(\w+?)\.(aggregate|project|blocks\.(\d+)\.(\w+))\.(weight|bias)", name):
        modality, part, block, kind, leaf = found.groups()
        family = _key(ADAPTERS, modality)
        short = {"aggregate": "agg", "project": "proj"}.get(part) or f"{_key(BLOCK_PARTS, kind)}_{int(block) + 1}"
        return f"{family}_{short}.{leaf}", tensor
    if found := re.fullmatch(r"projector\.(queries|fc|transformer|output)(\..+)?", name):
        return f"output_projector.{_key(PROJECTOR_PARTS, found[1])}{found[2] or ''}", tensor
    if name == "language_model.prefix_query.weight":
        return "prefix_query.weight", tensor
    if name == f"{LLAMA}model.norm.weight":
        return "llama.norm.weight", tensor
    if found := re.fullmatch(rf"{re.escape(LLAMA)}model\.layers\.(\d+)\.(.+)", name):
        return _published_layer_tensor(f"llama.layers.{found[1]}", found[2], tensor, config)
    raise InputError(f"the published model has no place for {name!r}")


def _published_layer_tensor(prefix: str, name: str, tensor: torch.Tensor, config: M2UGenConfig) -> Named:
    if name == "self_attn.gate":
        return f"{prefix}.attention.gate", tensor[None, :, None, None]
    stem, leaf = name.rsplit(".", 1)
    if stem in NORMS.values():
        return f"{prefix}.{_key(NORMS, stem)}.{leaf}", tensor
    stem, _, part = stem.partition(".lora_")
    stem = stem.removesuffix(".base")
    if stem not in LINEARS.values():
        raise InputError(f"the published model has no place for {name!r}")
    published = _key(LINEARS, stem)
    if part != "down" and published in ROTATED:
        tensor = pairs_from_halves(tensor, _heads(published, config))
    if part:
        room, short = published.split(".")
        return f"{prefix}.{room}.lora_{short}_l{1 if part == 'down' else 2}.{leaf}", tensor
    return f"{prefix}.{published}.{leaf}", tensor


def _key(table: dict[str, str], value: str) -> str:
    return next(key for key, found in table.items() if found == value)


# -- rotary order ------------------------------------------------------------------------------------------------


def _heads(published: str, config: M2UGenConfig) -> int:
    llama = config.language_model
    heads = llama.num_attention_heads if published == "attention.wq" else llama.num_key_value_heads
    return int(heads or llama.num_attention_heads)


def halves_from_pairs(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows [heads * head_dim, …] of a rotated projection in transformers' order: Meta's files rotate neighbouring
    pairs of a head's rows, transformers its two halves.
    """
    return rows.unflatten(0, (heads, -1, 2)).transpose(1, 2).flatten(0, 2)


def pairs_from_halves(rows: torch.Tensor, heads: int) -> torch.Tensor:
    """The inverse of ``halves_from_pairs``."""
    return rows.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
