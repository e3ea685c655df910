"""From captions to the conditioning of AudioLDM 2, and from the conditioning to what its UNet attends to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

from m2ugen.errors import InputError

PADDING_NORM = 0.1  # of the largest norm in a row: T5 ends in a norm, so no token's state comes near it


class Prompt(NamedTuple):
    """What the UNet attends to: ``text_states`` of T5 [batch, tokens, dim], their ``mask`` [batch, tokens] (1: a token,
    0: padding) and the ``generated`` states of GPT-2 [batch, generated tokens, dim].
    """

    text_states: torch.Tensor
    mask: torch.Tensor
    generated: torch.Tensor

    @property
    def lengths(self) -> list[int]:
        """Of each row, up to its last token; at least 1."""
        places = torch.arange(1, self.mask.shape[1] + 1, device=self.mask.device)
        return [max(1, int(length)) for length in (self.mask * places).amax(dim=1)]


class PromptEncoder(nn.Module):
    """CLAP and T5 read a caption; GPT-2 continues their projected states by ``num_generated`` vectors (section 2.2 of
    arXiv 2308.05734).

    The conditioning is [batch, 1, num_tokens * T5 width + num_generated * GPT-2 width]: T5's states, zero where there
    is no token, followed by the generated vectors. ``parts`` are named as in diffusers' AudioLDM2Pipeline.
    """

    def __init__(self, parts: Mapping[str, Any], num_tokens: int = 128, num_generated: int = 8) -> None:
        super().__init__()
        self.text_encoder = parts["text_encoder"]
        self.text_encoder_2 = parts["text_encoder_2"]
        self.projection_model = parts["projection_model"]
        self.language_model = parts["language_model"]
        self.tokenizer = parts.get("tokenizer")
        self.tokenizer_2 = parts.get("tokenizer_2")
        self.text_shape = (num_tokens, int(self.text_encoder_2.config.d_model))
        self.generated_shape = (num_generated, int(self.language_model.config.n_embd))

    @property
    def conditioning_size(self) -> int:
        """Number of elements of one caption's conditioning."""
        return self.text_shape[0] * self.text_shape[1] + self.generated_shape[0] * self.generated_shape[1]

    @torch.no_grad()
    def forward(self, captions: Sequence[str], length: int | None = None) -> torch.Tensor:
        """Conditioning [len(captions), 1, conditioning_size] in fp32; captions do not influence each other.

        GPT-2 counts positions, so its vectors depend on the padding before them: by default there is none, as when
        the pipeline encodes one caption. ``length`` pads T5's states to that many, as the pipeline pads a negative
        prompt to its prompt's length. Captions are cut at ``num_tokens``. Raises InputError without captions.
        """
        if len(captions) == 0:
            raise InputError("there is no caption to encode")
        clap_states = self.clap_states(captions)
        states, mask = self._text_states(captions)
        if length is not None and length > mask.shape[1]:
            states = F.pad(states, (0, 0, 0, length - mask.shape[1]))
            mask = F.pad(mask, (0, length - mask.shape[1]))
        joined = self.projection_model(
            hidden_states=clap_states,
            hidden_states_1=states,
            attention_mask=mask.new_ones(len(captions), 1),
            attention_mask_1=mask,
        )
        seen = joined.attention_mask if length is None else torch.ones_like(joined.attention_mask)
        generated = self._continue(joined.hidden_states, joined.attention_mask, seen.cumsum(dim=1) - 1)
        states = F.pad(states * mask[..., None], (0, 0, 0, self.text_shape[0] - states.shape[1]))
        return torch.cat([states.flatten(1), generated.flatten(1)], dim=1)[:, None].float()

    def unpack(self, conditioning: torch.Tensor) -> Prompt:
        """The parts of ``conditioning`` [batch, 1, conditioning_size] in the device and dtype of this module.

        T5 positions whose state is next to nothing are taken for padding: a projector that was trained on zeros there
        gives small numbers.
        """
        own = self.language_model
        rows = conditioning[:, 0].to(own.device, own.dtype)
        cut = self.text_shape[0] * self.text_shape[1]
        states, generated = (
            rows[:, :cut].unflatten(1, self.text_shape),
            rows[:, cut:].unflatten(1, self.generated_shape),
        )
        norms = states.float().norm(dim=-1)  # [batch, tokens]
        mask = (norms > PADDING_NORM * norms.amax(dim=1, keepdim=True)).long()
        return Prompt(states, mask, generated)

    @torch.no_grad()
    def clap_states(self, captions: Sequence[str]) -> torch.Tensor:
        """CLAP's normalised text features [batch, 1, dim]."""
        assert self.tokenizer is not None
        limit = min(self.tokenizer.model_max_length, self.text_encoder.config.text_config.max_position_embeddings - 2)
        tokens = self.tokenizer(
            list(captions), padding=True, truncation=True, max_length=limit, return_tensors="pt"
        ).to(self.text_encoder.device)
        features = self.text_encoder.get_text_features(tokens["input_ids"], attention_mask=tokens["attention_mask"])
        pooled: torch.Tensor = features.pooler_output
        return pooled[:, None]

    def _text_states(self, captions: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """T5's states [batch, tokens, dim] and mask [batch, tokens], as long as the longest caption."""
        assert self.tokenizer_2 is not None
        tokens = self.tokenizer_2(
            list(captions), padding=True, truncation=True, max_length=self.text_shape[0], return_tensors="pt"
        ).to(self.text_encoder_2.device)
        states = self.text_encoder_2(tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
        return states, tokens["attention_mask"]

    def _continue(self, states: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Vectors [batch, num_generated, dim]: each is GPT-2's last hidden state and the next one's input."""
        generated: list[torch.Tensor] = []
        cache = None
        for _ in range(self.generated_shape[0]):
            output = self.language_model(
                inputs_embeds=states,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
            )
            states = output.last_hidden_state[:, -1:]  # [batch, 1, dim]
            generated.append(states)
            cache = output.past_key_values
            mask = F.pad(mask, (0, 1), value=1)
            positions = positions[:, -1:] + 1
        return torch.cat(generated, dim=1)
