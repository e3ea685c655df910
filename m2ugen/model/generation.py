"""Writing text with the language model: one loop with a cache, for one request or a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from transformers import DynamicCache

from m2ugen.model.language_model import KeyValue, LanguageModel

Audio = Literal["auto", "always", "never", "free"]


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. ``temperature`` 0 takes the likeliest; ``top_p`` in (0, 1] keeps the smallest set of
    tokens that holds that much probability (nucleus sampling, arXiv 1904.09751). ``audio``: the [AUD] tokens come
    when the model wants ("auto"), at the end of every answer ("always"), or never; they end an answer, and always
    come as all eight. "free" treats them as words.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    audio: Audio = "auto"


@dataclass
class Generated:
    """What was written: per row the tokens without end and [AUD] tokens, and whether the row asked for audio.

    ``audio_states`` [rows with audio, 8, hidden]: the hidden states that predict the [AUD] tokens, in the order of
    the rows; None without any.
    """

    tokens: list[list[int]]
    has_audio: list[bool]
    audio_states: torch.Tensor | None


class OnToken(Protocol):
    """Called with every token of the text as soon as it is known."""

    def __call__(self, row: int, token: int) -> None: ...


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    adapter_states: Sequence[KeyValue] | None = None,
    sampling: Sampling | None = None,
    stop_ids: Sequence[int] = (),
    generator: torch.Generator | None = None,
    on_token: OnToken | None = None,
) -> Generated:
    """Continue ``prompts`` (token ids, of any lengths) until a token in ``stop_ids``, [AUD0] or the limit.

    ``adapter_states`` as from ``LanguageModel.adapter_states``. ``generator`` is used when the temperature is above
    0 and must live on the CPU.
    """
    sampling = sampling or Sampling()
    adapter_states = model.adapter_states() if adapter_states is None else adapter_states
    device = model.audio_head.weight.device
    first_audio, stops = model.vocab_size, frozenset(stop_ids)
    input_ids, mask = left_padded(prompts, device)
    padded = not bool(mask.all())
    batch = len(prompts)
    tokens: list[list[int]] = [[] for _ in prompts]
    has_audio = [False] * batch
    running = [True] * batch
    cache = DynamicCache(config=model.llama_config)
    last_states = torch.zeros(batch, model.llama_config.hidden_size, device=device)  # that follow a row's last token
    step_ids = input_ids
    for count in range(sampling.max_new_tokens + 1):
        hidden = model(step_ids, adapter_states, mask if padded else None, cache)[:, -1]
        alive = torch.tensor(running, device=device)
        last_states = torch.where(alive[:, None], hidden, last_states)
        if count == sampling.max_new_tokens:
            break
        scores = model.logits(hidden).float().cpu()
        if sampling.audio == "never":
            scores[:, first_audio:] = -torch.inf
        elif sampling.audio != "free":
            scores[:, first_audio + 1 :] = -torch.inf  # the other seven follow the first by themselves
        chosen = choose(scores, sampling, generator)
        for row, token in enumerate(chosen):
            if not running[row]:
                continue
            if token in stops:
                running[row] = False
            elif token == first_audio and sampling.audio != "free":
                running[row], has_audio[row] = False, True
            else:
                tokens[row].append(token)
                if on_token is not None:
                    on_token(row, token)
        if not any(running):
            break
        padded = padded or not all(running)
        step_ids = torch.tensor(chosen, device=device)[:, None]
        mask = torch.cat([mask, torch.tensor(running, device=device).long()[:, None]], dim=1)
    if sampling.audio == "always":
        has_audio = [True] * batch
    states = (
        _audio_states(model, adapter_states, last_states, mask if padded else None, cache) if any(has_audio) else None
    )
    return Generated(tokens, has_audio, None if states is None else states[torch.tensor(has_audio, device=device)])


def _audio_states(
    model: LanguageModel,
    adapter_states: Sequence[KeyValue],
    last_states: torch.Tensor,  # [batch, hidden]: they predict [AUD0]
    mask: torch.Tensor | None,
    cache: DynamicCache,
) -> torch.Tensor:
    """The states that predict [AUD0] … [AUD7], the last seven from one pass over [AUD0] … [AUD6]."""
    batch, device = len(last_states), last_states.device
    count = model.audio_embeddings.num_embeddings - 1
    ids = model.vocab_size + torch.arange(count, device=device).expand(batch, count)
    if mask is not None:
        mask = torch.cat([mask, mask.new_ones(batch, count)], dim=1)
    following = model(ids, adapter_states, mask, cache)
    return torch.cat([last_states[:, None], following], dim=1)  # [batch, 8, hidden]


def choose(scores: torch.Tensor, sampling: Sampling, generator: torch.Generator | None) -> list[int]:
    """One token per row of ``scores`` [batch, vocabulary]."""
    if sampling.temperature <= 0:
        return scores.argmax(dim=-1).tolist()
    probabilities = torch.softmax(scores / sampling.temperature, dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    ordered[ordered.cumsum(dim=-1) - ordered >= sampling.top_p] = 0  # the likeliest always stays
    picked = torch.multinomial(ordered, 1, generator=generator)
    return order.gather(-1, picked)[:, 0].tolist()


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [batch, longest], padded on the left, so that all rows end together."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


class TextStream:
    """Turns tokens into pieces of text as they come; a character of several tokens waits for its last one.

    ``decode`` maps token ids to text, ``on_text`` receives the pieces; call ``close`` at the end.
    """

    def __init__(self, decode: Callable[[list[int]], str], on_text: Callable[[str], None]) -> None:
        self._decode, self._on_text = decode, on_text
        self._tokens: list[int] = []
        self._sent = 0

    def __call__(self, row: int, token: int) -> None:
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            self._send(text)

    def close(self) -> None:
        """Send what is left."""
        self._send(self._decode(self._tokens))

    def _send(self, text: str) -> None:
        if len(text) > self._sent:
            self._on_text(text[self._sent :])
            self._sent = len(text)
