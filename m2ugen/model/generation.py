"""Writing text with the language model: one loop with a cache, for one request or a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from transformers import Cache

from m2ugen.config import NUM_AUDIO_TOKENS
from m2ugen.model.decoding import StepDecoder
from m2ugen.model.kv_cache import keep_rows, reserved_cache
from m2ugen.model.language_model import KeyValue, LanguageModel
from m2ugen.model.prompting import cut_at

Audio = Literal["auto", "always", "never", "free"]
WORTH_SHRINKING = 0.75  # share of the rows that go on, from which down the others are dropped
ROUNDS, LONGEST_CIRCLE = 4, 12  # times that something is said in a row before an answer ends, and its tokens at most
RESERVED_TOKENS = 512  # for which the cache has memory beyond the prompt; it grows when more are written


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. ``temperature`` 0 takes the likeliest; ``top_p`` in (0, 1] keeps the smallest set of
    tokens that holds that much probability (nucleus sampling, arXiv 1904.09751), ``top_k`` the likeliest k (0: all).
    ``repetition_penalty`` above 1 makes tokens that stand in prompt or answer less likely (CTRL, arXiv 1909.05858).
    ``audio``: the [AUD] tokens come when the model wants ("auto"), at the end of every answer ("always"), or never;
    they end an answer, and always come as all eight. "free" treats them as words. ``stop_circles`` ends an answer that
    says the same over and over.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    audio: Audio = "auto"
    stop_circles: bool = False


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


class StopText:
    """Ends an answer where one of ``strings`` appears in its text; what was written of it is for ``cut`` to take off.

    ``tokenizer`` turns tokens into text, of which only the last few are looked at.
    """

    WINDOW = 16  # tokens, more than any such string has

    def __init__(self, tokenizer: Any, strings: Sequence[str]) -> None:
        self.tokenizer, self.strings = tokenizer, tuple(strings)

    def __call__(self, tokens: Sequence[int]) -> bool:
        if not self.strings:
            return False
        text = self.tokenizer.decode(list(tokens[-self.WINDOW :]), skip_special_tokens=True)
        return any(stop in text for stop in self.strings)

    def cut(self, text: str) -> str:
        """``text`` without the string that ended it and the white space before."""
        kept = cut_at(text, self.strings)
        return text if kept == text else kept.rstrip()


@torch.inference_mode()
def generate(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    adapter_states: Sequence[KeyValue] | None = None,
    sampling: Sampling | None = None,
    stop_ids: Sequence[int] = (),
    generator: torch.Generator | None = None,
    on_token: OnToken | None = None,
    stop_text: StopText | None = None,
) -> Generated:
    """Continue ``prompts`` (token ids, of any lengths) until a token in ``stop_ids``, ``stop_text``, [AUD0] or the
    limit.

    ``adapter_states`` as from ``LanguageModel.adapter_states``. ``generator`` is used when the temperature is above
    0 and must live on the CPU. Where words alone are wanted and the likeliest are taken, rows that have ended make way.
    """
    sampling = sampling or Sampling()
    adapter_states = model.adapter_states() if adapter_states is None else adapter_states
    device = model.audio_embeddings.weight.device
    first_audio, stops = model.vocab_size, frozenset(stop_ids)
    step_ids, prompt_mask = left_padded(prompts, device)
    padded = not bool(prompt_mask.all())
    batch, length = prompt_mask.shape
    room = length + sampling.max_new_tokens + NUM_AUDIO_TOKENS
    mask = torch.zeros(batch, room, dtype=torch.long, device=device)
    mask[:, :length] = prompt_mask
    seen = [set(prompt) for prompt in prompts] if sampling.repetition_penalty != 1 else None
    tokens: list[list[int]] = [[] for _ in prompts]
    has_audio = [False] * batch
    running = [True] * batch
    active = list(range(batch))  # the request that each row of the batch belongs to
    shrinks = sampling.audio == "never" and sampling.temperature <= 0
    cache = reserved_cache(len(model.layers), min(room, length + RESERVED_TOKENS))
    step: StepDecoder | None = None
    for count in range(sampling.max_new_tokens + 1):
        shown = mask[:, :length] if padded else None
        if step is None:
            hidden = model(step_ids, adapter_states, shown, cache)[:, -1]
            step = StepDecoder(model, adapter_states, cache, batch) if StepDecoder.suits(model) else None
        else:
            hidden = step(step_ids, shown)[:, -1]
        if shrinks or all(running):
            last_states = hidden  # [batch, hidden], that follow a row's last token
        else:
            last_states = torch.where(torch.tensor(running, device=device)[:, None], hidden, last_states)
        if count == sampling.max_new_tokens:
            break
        scores = model.logits(hidden).float().cpu()
        if sampling.audio == "never":
            scores[:, first_audio:] = -torch.inf
        elif sampling.audio != "free":
            scores[:, first_audio + 1 :] = -torch.inf  # the other seven follow the first by themselves
        if seen is not None:
            penalise(scores, [seen[row] for row in active], sampling.repetition_penalty)
        chosen = choose(scores, sampling, generator)
        for row, token in zip(active, chosen):
            if not running[row]:
                continue
            if token in stops:
                running[row] = False
            elif token == first_audio and sampling.audio != "free":
                running[row], has_audio[row] = False, True
            else:
                tokens[row].append(token)
                if seen is not None:
                    seen[row].add(token)
                if on_token is not None:
                    on_token(row, token)
                if stop_text is not None and stop_text(tokens[row]):
                    running[row] = False
                if sampling.stop_circles and (circle := circling(tokens[row])):
                    running[row] = False
                    del tokens[row][-(ROUNDS - 1) * circle :]
        if not any(running):
            break
        if shrinks and sum(running) <= WORTH_SHRINKING * len(active):
            places = [place for place, row in enumerate(active) if running[row]]
            chosen, active = [chosen[place] for place in places], [active[place] for place in places]
            kept = torch.tensor(places, device=device)
            mask, adapter_states = mask[kept], _rows(adapter_states, kept)
            keep_rows(cache, kept)
            step = None if step is None else StepDecoder(model, adapter_states, cache, len(active))
        padded = padded or not all(running[row] for row in active)
        step_ids = torch.tensor(chosen, device=device)[:, None]
        mask[:, length] = torch.tensor([running[row] for row in active], device=device)
        length += 1
    if sampling.audio == "always":
        has_audio = [True] * batch
    if not any(has_audio):
        return Generated(tokens, has_audio, None)
    mask[:, length:] = 1
    shown = mask[:, : length + NUM_AUDIO_TOKENS - 1] if padded else None
    states = _audio_states(model, adapter_states, last_states, shown, cache)
    return Generated(tokens, has_audio, states[torch.tensor(has_audio, device=device)])


def _rows(adapter_states: Sequence[KeyValue], rows: torch.Tensor) -> list[KeyValue]:
    """Keys and values of some rows; those without a batch of their own serve all."""
    return [
        (keys if len(keys) == 1 else keys[rows], values if len(values) == 1 else values[rows])
        for keys, values in adapter_states
    ]


def _audio_states(
    model: LanguageModel,
    adapter_states: Sequence[KeyValue],
    last_states: torch.Tensor,  # [batch, hidden]: they predict [AUD0]
    mask: torch.Tensor | None,  # [batch, past + 7]
    cache: Cache,
) -> torch.Tensor:
    """The states that predict [AUD0] … [AUD7], the last seven from one pass over [AUD0] … [AUD6]."""
    batch, device = len(last_states), last_states.device
    count = NUM_AUDIO_TOKENS - 1
    ids = model.vocab_size + torch.arange(count, device=device).expand(batch, count)
    following = model(ids, adapter_states, mask, cache)
    return torch.cat([last_states[:, None], following], dim=1)  # [batch, 8, hidden]


def choose(scores: torch.Tensor, sampling: Sampling, generator: torch.Generator | None) -> list[int]:
    """One token per row of ``scores`` [batch, vocabulary]."""
    if sampling.temperature <= 0:
        return scores.argmax(dim=-1).tolist()
    probabilities = torch.softmax(scores / sampling.temperature, dim=-1)
    ordered, order = probabilities.sort(dim=-1, descending=True)
    if sampling.top_k:
        ordered[:, sampling.top_k :] = 0
        ordered /= ordered.sum(dim=-1, keepdim=True)
    ordered[ordered.cumsum(dim=-1) - ordered >= sampling.top_p] = 0  # the likeliest always stays
    picked = torch.multinomial(ordered, 1, generator=generator)
    return order.gather(-1, picked)[:, 0].tolist()


def circling(tokens: Sequence[int]) -> int:
    """The length of what ``tokens`` end with ROUNDS times in a row, or 0.

    >>> circling([7, 1, 2, 1, 2, 1, 2, 1, 2])
    2
    """
    for length in range(1, LONGEST_CIRCLE + 1):
        last = tokens[-length * ROUNDS :]
        if len(last) == length * ROUNDS and all(last[k] == last[k - length] for k in range(length, len(last))):
            return length
    return 0


def penalise(scores: torch.Tensor, seen: Sequence[set[int]], penalty: float) -> None:
    """Bring the scores [batch, vocabulary] of each row's ``seen`` tokens down by a factor, in place."""
    for row, tokens in zip(scores, seen):
        places = torch.tensor(sorted(tokens), dtype=torch.long)
        found = row[places]
        row[places] = torch.where(found < 0, found * penalty, found / penalty)


def left_padded(prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask [batch, longest], padded on the left, so that all rows end together."""
    longest = max(len(prompt) for prompt in prompts)
    ids = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]
    mask = [[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(ids, device=device), torch.tensor(mask, device=device)


class TextStream:
    """Turns tokens into pieces of text as they come; a character of several tokens waits for its last one, and what
    may be the beginning of one of ``stop_strings`` waits until it is known not to be.

    ``decode`` maps token ids to text, ``on_text`` receives the pieces; call ``close`` at the end.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], on_text: Callable[[str], None], stop_strings: Sequence[str] = ()
    ) -> None:
        self._decode, self._on_text, self._stops = decode, on_text, stop_strings
        self._tokens: list[int] = []
        self._sent = 0

    def __call__(self, row: int, token: int) -> None:
        self._tokens.append(token)
        text = self._decode(self._tokens)
        if not text.endswith("\N{REPLACEMENT CHARACTER}"):
            text = cut_at(text, self._stops)
            beginnings = (stop[:k] for stop in self._stops for k in range(1, len(stop)))
            self._send(text[: len(text) - max((len(part) for part in beginnings if text.endswith(part)), default=0)])

    def close(self) -> None:
        """Send what is left."""
        self._send(cut_at(self._decode(self._tokens), self._stops))

    def _send(self, text: str) -> None:
        if len(text) > self._sent:
            self._on_text(text[self._sent :])
            self._sent = len(text)
