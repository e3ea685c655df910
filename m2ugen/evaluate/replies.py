"""A model's answers and conditionings for many requests at once, from features that were encoded before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from m2ugen.model.generation import Sampling, StopText, generate
from m2ugen.model.prompting import FORMATS, Turn, encode_prompt, findings
from m2ugen.pipeline import M2UGen

BATCH = 16
ANSWER_TOKENS = 48


def answers(
    model: M2UGen,
    asked: Sequence[tuple[str, np.ndarray]],
    progress: Callable[[float], None] = lambda share: None,
) -> list[str]:
    """Greedy answers to (question, music features [tokens, dim]) pairs, in batches of questions of like length."""
    sampling = Sampling(max_new_tokens=ANSWER_TOKENS, audio="never")
    order = sorted(range(len(asked)), key=lambda index: len(asked[index][0]))
    found = [""] * len(asked)
    done = 0
    for texts, _ in replies(model, [asked[index] for index in order], "music", sampling):
        for text in texts:
            found[order[done]] = text
            done += 1
        progress(done / len(asked))
    return found


@torch.inference_mode()
def conditionings(
    model: M2UGen,
    asked: Sequence[tuple[str, np.ndarray | None]],
    modality: str | None = None,
    read_request: bool = True,
) -> list[np.ndarray]:
    """What drives the decoder, [N, D], for requests with features of ``modality`` (None: words alone), in batches.

    Without ``read_request`` the language model is on its own: only its reply is read, not the request's words.
    """
    decoder, found, requests = model.model.decoder, [], iter(text for text, _ in asked)
    for texts, states in replies(model, asked, modality, Sampling(audio="always")):
        assert states is not None  # every row was made to end in [AUD] tokens
        for text, state in zip(texts, model.model.conditioning(states), strict=True):
            request = next(requests)
            found.append(decoder.refine(state[None], text, *([request] if read_request else []))[0].numpy())
    return found


@torch.inference_mode()
def replies(
    model: M2UGen, asked: Sequence[tuple[str, np.ndarray | None]], modality: str | None, sampling: Sampling
) -> Iterator[tuple[list[str], torch.Tensor | None]]:
    """Texts and [AUD] states of one batch of requests after the other."""
    core, processor = model.model, model.processor
    attached = () if modality is None else (modality,)
    layout = core.config.prompt_format
    ends = StopText(processor.tokenizer, FORMATS[layout].stop_strings)
    for first in range(0, len(asked), BATCH):
        batch = asked[first : first + BATCH]
        given = [{} if modality is None else {modality: row} for _, row in batch]
        turns = [
            Turn(text, attached, found=findings(processor.describers, media))
            for (text, _), media in zip(batch, given, strict=True)
        ]
        prompts = [encode_prompt(processor.tokenizer, [turn], layout) for turn in turns]
        features = {}
        if modality is not None:
            stacked = np.stack([row for _, row in batch if row is not None]).astype(np.float32)
            features[modality] = torch.from_numpy(stacked)
        states = core.adapter_states(features)
        written = generate(core.language_model, prompts, states, sampling, core.stop_ids, stop_text=ends)
        yield [ends.cut(processor.decode(tokens)) for tokens in written.tokens], written.audio_states
