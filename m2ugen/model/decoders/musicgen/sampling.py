"""Drawing MusicGen's codes: one step per frame, the codebooks in a delay pattern (arXiv 2306.05284, §2.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from m2ugen.errors import InputError
from m2ugen.model.decoders.musicgen.transformer import CodeTransformer, Conditions


@dataclass(frozen=True)
class CodeSampling:
    """How codes are chosen.

    ``guidance_scale`` ≥ 1 strengthens the conditioning (classifier-free guidance; 1: none, and half the work).
    ``temperature`` 0 takes the likeliest code. ``top_k`` keeps that many of the likeliest (0: all), ``top_p`` in
    (0, 1] the fewest that hold that much probability. Raises InputError for other values.
    """

    guidance_scale: float = 3.0
    temperature: float = 1.0
    top_k: int = 250
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 1 <= self.guidance_scale < math.inf:
            raise InputError(f"guidance_scale is {self.guidance_scale}; MusicGen takes 1 (no guidance) and more")
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"temperature is {self.temperature}; use 0 (the likeliest code) or more")
        if self.top_k < 0 or int(self.top_k) != self.top_k:
            raise InputError(f"top_k is {self.top_k}; use the number of codes to choose from, or 0 for all")
        if not 0 < self.top_p <= 1:
            raise InputError(f"top_p is {self.top_p}; use a value above 0 and up to 1")

    @property
    def guided(self) -> bool:
        """Whether every sample needs an unguided twin."""
        return self.guidance_scale > 1


@torch.inference_mode()
def draw_codes(
    transformer: CodeTransformer,
    conditions: Conditions,
    frames: int,
    sampling: CodeSampling,
    generators: Sequence[torch.Generator],
    prompt: torch.Tensor | None = None,
    streams: int = 1,
    on_frame: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Codes [samples, codebooks, frames], which begin with ``prompt`` [samples, codebooks, fewer frames].

    ``conditions`` have one row per sample and, if ``sampling`` is guided, as many unguided rows after them. There is
    one CPU generator per sample, so that a sample does not depend on its neighbours. ``streams`` (2: stereo)
    neighbouring codebooks share a delay. ``on_frame`` is called once for every new frame.
    """
    samples, known = len(generators), 0 if prompt is None else prompt.shape[-1]
    delayed = delay(transformer, samples, frames, prompt, streams)
    copies = 2 if sampling.guided else 1
    start, stop = known + 1, delayed.shape[-1]
    numbers = torch.stack([torch.rand(stop - start, delayed.shape[1], generator=each) for each in generators])
    numbers = numbers.to(delayed.device)  # [samples, steps, codebooks]
    state = transformer.start(conditions, stop - 1)
    embeddings = transformer.embed(delayed[..., :start].repeat(copies, 1, 1))
    if conditions.prefix is not None:
        embeddings = torch.cat([conditions.prefix, embeddings], dim=1)
    for place in range(start, stop):
        logits = transformer(embeddings, state).float()
        if sampling.guided:
            conditioned, free = logits.chunk(2)
            logits = free + (conditioned - free) * sampling.guidance_scale
        chosen = choose(logits, sampling, numbers[:, place - start])
        column = delayed[..., place]
        delayed[..., place] = torch.where(column < 0, chosen, column)
        embeddings = transformer.embed(delayed[..., place : place + 1].repeat(copies, 1, 1))
        if on_frame is not None and place - start < frames - known:
            on_frame()
    return undelay(delayed, frames, streams)


def delay(
    transformer: CodeTransformer, samples: int, frames: int, prompt: torch.Tensor | None, streams: int
) -> torch.Tensor:
    """The sequence [samples, codebooks, places] that the transformer sees: codebook k lags k places behind the first
    (with two ``streams``, k // 2), padding stands before and after it, -1 where a code is to be drawn.
    """
    codebooks = transformer.num_codebooks
    device = transformer.embedding.weight.device
    shape = (samples, codebooks, frames + codebooks // streams)
    delayed = torch.full(shape, transformer.vocabulary, device=device)
    for codebook in range(codebooks):
        first = 1 + codebook // streams
        delayed[:, codebook, first : first + frames] = -1
        if prompt is not None:
            delayed[:, codebook, first : first + prompt.shape[-1]] = prompt[:, codebook]
    return delayed


def undelay(delayed: torch.Tensor, frames: int, streams: int) -> torch.Tensor:
    """The codes [samples, codebooks, frames] of what ``delay`` made."""
    firsts = [1 + codebook // streams for codebook in range(delayed.shape[1])]
    return torch.stack([delayed[:, k, first : first + frames] for k, first in enumerate(firsts)], dim=1)


def choose(logits: torch.Tensor, sampling: CodeSampling, numbers: torch.Tensor) -> torch.Tensor:
    """One code for each row of ``logits`` [..., vocabulary], by ``numbers`` [...] between 0 and 1."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    kept = min(sampling.top_k or logits.shape[-1], logits.shape[-1])
    likeliest, codes = (logits / sampling.temperature).topk(kept, dim=-1)  # in falling order
    reached = likeliest.softmax(dim=-1).cumsum(dim=-1)
    total = reached[..., -1:]
    if sampling.top_p < 1:  # the code that crosses the bound still counts
        crossing = (reached < sampling.top_p).sum(dim=-1, keepdim=True).clamp(max=kept - 1)
        total = reached.gather(-1, crossing)
    index = torch.searchsorted(reached, numbers[..., None] * total, right=True).clamp(max=kept - 1)
    return codes.gather(-1, index)[..., 0]
