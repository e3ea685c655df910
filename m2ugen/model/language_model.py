"""The language model: a Llama from transformers, extended as M²UGen (arXiv 2311.11255, §3.2) extends it.

Zero-initialised gated adapter attention in the last layers (LLaMA-Adapter, arXiv 2303.16199), LoRA, biases and
norms to tune, and eight [AUD] tokens. The Llama's own weights stay frozen and are never saved twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface, Cache, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import create_causal_mask, sdpa_mask

from m2ugen.config import NUM_AUDIO_TOKENS, M2UGenConfig
from m2ugen.model.lora import TunedLinear, execution_device, tune_linears
from m2ugen.model.quantize import Form, Int4Linear, Int8Linear, Known, quantize_linears

ATTENTION = "m2ugen_gated"  # name of the attention function among those of transformers
IGNORED = -100  # label of positions that do not count
AUDIO_NOISE = 0.3  # spread of the [AUD] tokens' first vectors, relative to the vocabulary's

ATTENTION_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP_LINEARS = ("gate_proj", "up_proj", "down_proj")
BIASED = ("q_proj", "o_proj", *MLP_LINEARS)
NORMS = ("input_layernorm", "post_attention_layernorm")

KeyValue = tuple[torch.Tensor, torch.Tensor]  # each [batch or 1, heads, num_queries, head_dim]


def attend_adapter(
    query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """What ``query`` [batch, heads, length, head_dim] hears of an adapter's ``keys`` and ``values`` [batch, heads,
    num_queries, head_dim]; of a single one the same for every place, so its length is 1.
    """
    if values.shape[2] == 1:  # a softmax over a single key is 1
        return values
    return F.scaled_dot_product_attention(query, keys, values, scale=scaling)


def gated_attention(
    module: nn.Module,
    query: torch.Tensor,  # [batch, heads, length, head_dim]
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    adapter: KeyValue | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Attention plus, in adapted layers, ``tanh(gate)`` times attention to the adapter vectors with a softmax of
    their own. The adapter's keys carry no rotation: to every query they stand at position 0.
    """
    output, weights = sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if adapter is None:
        return output, weights  # output: [batch, length, heads, head_dim]
    keys, values = (part.to(query.dtype).expand(query.shape[0], -1, -1, -1) for part in adapter)
    heard = attend_adapter(query, keys, values, kwargs.get("scaling"))
    gate = torch.tanh(module.get_parameter("gate")).to(output.dtype)[:, None]  # [heads, 1]
    return output + gate * heard.transpose(1, 2), weights


AttentionInterface.register(ATTENTION, gated_attention)
AttentionMaskInterface.register(ATTENTION, sdpa_mask)


class LanguageModel(nn.Module):
    """A Llama with gated adapters, LoRA and [AUD] tokens.

    ``llama`` holds the frozen weights and must use the attention ``ATTENTION``; without it a randomly initialised
    one is made. Everything else starts so that the model computes what ``llama`` computes.
    """

    def __init__(self, config: M2UGenConfig, llama: LlamaForCausalLM | None = None) -> None:
        super().__init__()
        if llama is None:
            llama = LlamaForCausalLM._from_config(config.language_model, attn_implementation=ATTENTION)
        self.llama = llama.requires_grad_(False)
        self.llama_config: LlamaConfig = llama.config
        self.modalities = config.modalities
        self.layers_per_modality = config.tuning.layers_per_modality
        num_layers, hidden_size = self.llama_config.num_hidden_layers, self.llama_config.hidden_size
        self.first_adapted = num_layers - config.num_adapted_layers
        self.first_tuned = num_layers - config.num_tuned_layers
        self.freeze_audio_embeddings = config.tuning.freeze_audio_embeddings
        for layer in self.layers[self.first_tuned :]:
            tune_linears(layer.get_submodule("self_attn"), ATTENTION_LINEARS, BIASED, config.tuning.lora_rank)
            tune_linears(layer.get_submodule("mlp"), MLP_LINEARS, BIASED, config.tuning.lora_rank)
        for layer in self.layers[self.first_adapted :]:
            gate = nn.Parameter(torch.full((self.llama_config.num_attention_heads,), config.tuning.gate_start))
            layer.get_submodule("self_attn").register_parameter("gate", gate)
        self.prefix_query = nn.Embedding(config.num_adapted_layers, hidden_size)
        if config.tuning.gate_start:
            nn.init.zeros_(self.prefix_query.weight)
        self.audio_embeddings = nn.Embedding(NUM_AUDIO_TOKENS, hidden_size)
        self.audio_head = nn.Linear(hidden_size, NUM_AUDIO_TOKENS, bias=False)
        self.joined: dict[tuple[int, str], Int4Linear | None] = {}  # by ``decoding``, of several matrices of a layer
        self._place()

    def _place(self) -> None:
        """Bring what was added to where its neighbours in the Llama compute, and norms that are tuned out of an
        offloaded Llama.
        """
        model = self.llama.model
        self.prefix_query.to(execution_device(model.embed_tokens))
        self.audio_embeddings.to(execution_device(model.embed_tokens))
        self.audio_head.to(execution_device(self.llama.lm_head))
        for layer in self.layers[self.first_adapted :]:
            gate = layer.get_parameter("self_attn.gate")
            gate.data = gate.data.to(execution_device(layer.get_submodule("input_layernorm")))
        tuned = [layer.get_submodule(norm) for layer in self.layers[self.first_tuned :] for norm in NORMS]
        for norm in (*tuned, model.norm):
            hook = getattr(norm, "_hf_hook", None)
            if norm.get_parameter("weight").is_meta and hook is not None:
                from accelerate.hooks import remove_hook_from_module

                weight = hook.weights_map["weight"].to(execution_device(norm))
                remove_hook_from_module(norm)
                norm.weight = nn.Parameter(weight, requires_grad=False)

    @property
    def layers(self) -> nn.ModuleList:
        """The decoder layers, in order."""
        return self.llama.model.layers

    @property
    def vocab_size(self) -> int:
        """Tokens of the Llama's own vocabulary; the [AUD] tokens follow it."""
        return self.llama_config.vocab_size

    @property
    def first_upper(self) -> int:
        """The first layer that is adapted or tuned: what lies below never changes."""
        return min(self.first_adapted, self.first_tuned)

    @torch.no_grad()
    def init_audio_tokens(self, generator: torch.Generator) -> None:
        """Give the [AUD] tokens vectors near the vocabulary's mean, all different; a common start for all eight
        would leave nothing to tell them apart.
        """
        table = self.llama.model.embed_tokens.weight.float()
        shape = self.audio_embeddings.weight.shape
        noise = torch.randn(shape, generator=generator) * table.std(dim=0).cpu() * AUDIO_NOISE
        self.audio_embeddings.weight.copy_(table.mean(dim=0) + noise.to(table.device))
        self.audio_head.weight.copy_(self.llama.lm_head.weight.float().mean(dim=0))

    def embed(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Input vectors [..., hidden] of token ids, [AUD] tokens among them."""
        audio = input_ids - self.vocab_size
        own = self.audio_embeddings(audio.clamp(min=0))
        vectors = self.llama.model.embed_tokens(input_ids.clamp(max=self.vocab_size - 1))
        return torch.where((audio >= 0)[..., None], own, vectors.to(own.dtype))

    def adapter_states(
        self,
        adapters: Mapping[str, torch.Tensor] | None = None,
        present: Mapping[str, torch.Tensor] | None = None,
    ) -> list[KeyValue]:
        """Keys and values of the adapter attention, one pair for each adapted layer; compute them once per request.

        ``adapters`` maps modalities to adapter outputs [batch, num_queries, hidden]; those left out are absent.
        ``present`` maps modalities to a boolean [batch]: rows where it is False count as absent (no entry: all
        present). An absent modality leaves the layer's prefix vector alone, never nothing.
        """
        states = []
        for k, layer in enumerate(self.layers[self.first_adapted :]):
            name = self.modalities[k // self.layers_per_modality]
            vectors = self.prefix_query.weight[k][None, None]  # [1, 1, hidden]
            if adapters is not None and name in adapters:
                heard = adapters[name]
                if present is not None and name in present:
                    heard = heard * present[name].to(heard)[:, None, None]
                vectors = vectors + heard  # [batch, num_queries, hidden]
            attention = layer.get_submodule("self_attn")
            states.append(self._project(attention, vectors.to(attention.get_parameter("gate").device)))
        return states

    def _project(self, attention: Any, vectors: torch.Tensor) -> KeyValue:
        """Adapter vectors through the layer's own key and value matrices, without LoRA and rotation."""
        pair = []
        for linear in (attention.k_proj, attention.v_proj):
            project = linear.without_lora if isinstance(linear, TunedLinear) else linear
            heads = project(vectors).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            pair.append(heads.repeat_interleave(attention.num_key_value_groups, dim=1))
        return pair[0], pair[1]

    def run_layers(
        self,
        hidden_states: torch.Tensor,
        adapter_states: Sequence[KeyValue],
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
        start: int = 0,
        stop: int | None = None,
    ) -> torch.Tensor:
        """Hidden states [batch, length, hidden] through the layers ``start`` … ``stop - 1``; no final norm.

        ``attention_mask`` [batch, past + length] is 1 for tokens and 0 for padding, on either side; positions count
        tokens only. ``cache`` keeps keys and values; it must see all layers in one call.
        """
        model = self.llama.model
        length = hidden_states.shape[1]
        past = cache.get_seq_length() if cache is not None else 0
        if attention_mask is None:
            positions = torch.arange(past, past + length, device=hidden_states.device)[None]
        else:
            positions = (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        mask: Any = None
        if attention_mask is not None and length == 1:
            mask = attention_mask.bool()[:, None, None]  # [batch, 1, 1, past + 1]
        elif attention_mask is not None or (past and length > 1):  # otherwise attention's own causality is enough
            mask = create_causal_mask(self.llama_config, hidden_states, attention_mask, cache, positions)
        rotary = model.rotary_emb(hidden_states, position_ids=positions)
        for k in range(start, len(self.layers) if stop is None else stop):
            adapter = adapter_states[k - self.first_adapted] if k >= self.first_adapted else None
            hidden_states = self.layers[k](
                hidden_states,
                attention_mask=mask,
                position_embeddings=rotary,
                past_key_values=cache,
                adapter=adapter,
            )
        return hidden_states

    @torch.no_grad()
    def forward_lower(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Hidden states [batch, length, hidden] below the first adapted or tuned layer. Training computes them once
        per text and keeps them; that is exact while the [AUD] tokens' input vectors are frozen.
        """
        return self.run_layers(self.embed(input_ids), (), attention_mask, stop=self.first_upper)

    def forward_upper(
        self,
        hidden_states: torch.Tensor,
        adapter_states: Sequence[KeyValue],
        attention_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The rest of the layers on what ``forward_lower`` gave: the last layer's output, before the final norm."""
        return self.run_layers(hidden_states, adapter_states, attention_mask, start=self.first_upper)

    def forward(
        self,
        input_ids: torch.Tensor,
        adapter_states: Sequence[KeyValue] | None = None,
        attention_mask: torch.Tensor | None = None,
        cache: Cache | None = None,
    ) -> torch.Tensor:
        """Token ids [batch, length] → the last layer's output [batch, length, hidden], before the final norm."""
        if adapter_states is None:
            adapter_states = self.adapter_states()
        return self.run_layers(self.embed(input_ids), adapter_states, attention_mask, cache)

    def logits(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """Scores [..., vocab_size + 8] of the next token from the last layer's output."""
        normed = self.llama.model.norm(hidden_states)
        return torch.cat([self.llama.lm_head(normed), self.audio_head(normed)], dim=-1)

    def cross_entropy(
        self, hidden_states: torch.Tensor, labels: torch.Tensor, candidates: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Mean next-token cross-entropy over the labels [batch, length] that are not -100; logits are computed at
        those positions only.

        ``candidates`` [tokens], sorted, without [AUD] tokens: the softmax is over these and the [AUD] tokens alone. On
        a CPU the full vocabulary costs more than the layers that are trained; the labels must be among them.
        """
        targets = labels[:, 1:]
        counted = targets != IGNORED
        states, wanted = hidden_states[:, :-1][counted], targets[counted]
        if candidates is None:
            return F.cross_entropy(self.logits(states).float(), wanted)
        normed = self.llama.model.norm(states)
        scores = torch.cat([F.linear(normed, self.llama.lm_head.weight[candidates]), self.audio_head(normed)], dim=-1)
        audio = wanted - self.vocab_size
        places = torch.where(audio >= 0, len(candidates) + audio, torch.searchsorted(candidates, wanted))
        return F.cross_entropy(scores.float(), places)

    def merge_lora(self) -> None:
        """Fold LoRA and tuned biases into the frozen weights, for inference."""
        for module in self.modules():
            if isinstance(module, TunedLinear):
                module.merge()

    def quantize_for_cpu(self, form: Form = "int8", known: Known | None = None) -> None:
        """Round the matrices, one after the other, for inference on a CPU; the table of input vectors becomes half
        precision. It cannot be undone. ``form`` as for ``rounded_type``; scores of tokens always have 8 bits. LoRA is
        merged where matrices have 8. ``known`` holds rounded matrices of the same weights (see
        ``m2ugen.model.rounded``); those that it lacks are computed.

        The Llama may be in half precision: no more than one matrix is ever whole in fp32.
        """
        for name, module in list(self.named_modules()):
            if isinstance(module, TunedLinear):
                module.quantise(form, known, f"{name}.base")
        table = self.llama.model.embed_tokens.weight.detach()
        added = ("lora_down", "lora_up", "audio_head")
        quantize_linears(self, form, ("lm_head", *added), known)
        quantize_linears(self, "int8", added, known)
        half = table.half() if table.dtype == torch.float32 else table
        self.llama.model.embed_tokens.weight = nn.Parameter(half, requires_grad=False)

    def widen_norms(self) -> None:
        """Bring norms and biases of a Llama in half precision to fp32: they are small, and tuned values are exact."""
        for parameter in self.llama.parameters():
            if parameter.ndim == 1:
                parameter.data = parameter.data.float()

    def parameter_groups(self) -> dict[str, list[str]]:
        """Names of the parameters that may be trained, by kind: lora, bias, norm, gate, prefix, audio."""
        groups: dict[str, list[str]] = {kind: [] for kind in ("lora", "bias", "norm", "gate", "prefix", "audio")}
        for name, module in self.named_modules():
            if isinstance(module, TunedLinear):
                groups["lora"] += [f"{name}.lora_down.weight", f"{name}.lora_up.weight"]
                groups["bias"] += [] if module.bias is None else [f"{name}.bias"]
        for k in range(self.first_adapted, len(self.layers)):
            groups["gate"].append(f"llama.model.layers.{k}.self_attn.gate")
        for k in range(self.first_tuned, len(self.layers)):
            groups["norm"] += [f"llama.model.layers.{k}.{norm}.weight" for norm in NORMS]
        groups["norm"].append("llama.model.norm.weight")
        groups["prefix"].append("prefix_query.weight")
        groups["audio"].append("audio_head.weight")
        if not self.freeze_audio_embeddings:
            groups["audio"].append("audio_embeddings.weight")
        return groups

    def own_state(self) -> dict[str, torch.Tensor]:
        """The tensors that are this model's and not its source's: everything that may be trained, and the [AUD]
        tokens' vectors.
        """
        names = {name for group in self.parameter_groups().values() for name in group} | {"audio_embeddings.weight"}
        state = self.state_dict()
        return {name: state[name] for name in sorted(names)}

    def save_llama(self, folder: Path) -> None:
        """Write the frozen Llama alone, in Hugging Face form. Raises ValueError once it is merged or rounded."""
        if any(
            getattr(module, "merged", False) or isinstance(module, Int8Linear | Int4Linear) for module in self.modules()
        ):
            raise ValueError(
                "LoRA is merged or weights are rounded: the language model's own are gone; save before that"
            )
        state = self.llama.state_dict()
        bases = {name.replace(".base.", "."): tensor for name, tensor in state.items() if ".base." in name}
        plain = LlamaForCausalLM._from_config(self.llama_config, dtype=self.llama.dtype)
        plain.load_state_dict({name: bases.get(name, state.get(name)) for name in plain.state_dict()})
        plain.save_pretrained(folder)
