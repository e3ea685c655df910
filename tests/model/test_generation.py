"""Writing text: batches, sampling, ends, [AUD] tokens and streaming."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from m2ugen.model.generation import (
    LONGEST_CIRCLE,
    Sampling,
    StopText,
    TextStream,
    choose,
    circling,
    generate,
    penalise,
)
from m2ugen.model.kv_cache import reserved_cache
from m2ugen.model.modeling import M2UGenModel
from tests.model.tiny import VOCABULARY, tiny_features, tiny_model

PROMPTS = [[1, 7, 9, 12, 3], [1, 4], [5, 6, 7, 8, 9, 10, 11, 2]]


@pytest.fixture(scope="module")
def model() -> M2UGenModel:
    return tiny_model()


@torch.no_grad()
def test_a_batch_equals_its_rows_alone(model: M2UGenModel) -> None:
    features = tiny_features(3)
    sampling = Sampling(max_new_tokens=12, audio="always")
    silent = Sampling(max_new_tokens=5, audio="never")
    stop = [generate(model.language_model, PROMPTS, model.adapter_states(features), silent).tokens[0][4]]
    together = generate(model.language_model, PROMPTS, model.adapter_states(features), sampling, stop)
    assert together.audio_states is not None
    for row, prompt in enumerate(PROMPTS):
        heard = {name: value[row : row + 1] for name, value in features.items()}
        alone = generate(model.language_model, [prompt], model.adapter_states(heard), sampling, stop)
        assert alone.audio_states is not None
        assert together.tokens[row] == alone.tokens[0]
        torch.testing.assert_close(together.audio_states[row], alone.audio_states[0], atol=1e-4, rtol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
def test_rows_that_have_ended_make_way(model: M2UGenModel, shared: bool) -> None:
    prompts = [[*PROMPTS[k % 3], 13 + k] for k in range(8)]
    features = tiny_features(1 if shared else 8)
    states = model.adapter_states(features)
    sampling = Sampling(max_new_tokens=14, audio="never", repetition_penalty=1.1)
    whole = generate(model.language_model, prompts, states, sampling)
    stop = sorted({row[4] for row in whole.tokens})[:3]  # some rows end there, others go on
    together = generate(model.language_model, prompts, states, sampling, stop)
    assert len({len(row) for row in together.tokens}) > 1
    for row, prompt in enumerate(prompts):
        heard = features if shared else {name: value[row : row + 1] for name, value in features.items()}
        alone = generate(model.language_model, [prompt], model.adapter_states(heard), sampling, stop)
        assert together.tokens[row] == alone.tokens[0]


@torch.no_grad()
def test_audio_states_are_those_that_predict_the_audio_tokens(model: M2UGenModel) -> None:
    written = generate(model.language_model, PROMPTS[:1], sampling=Sampling(max_new_tokens=5, audio="always"))
    audio = list(range(VOCABULARY, VOCABULARY + 8))
    ids = torch.tensor([PROMPTS[0] + written.tokens[0] + audio])
    hidden = model.language_model(ids)
    assert written.audio_states is not None
    torch.testing.assert_close(written.audio_states, hidden[:, -9:-1], atol=1e-4, rtol=1e-4)
    assert model.projector is not None
    torch.testing.assert_close(
        model.conditioning(written.audio_states) * 10.0, model.project_audio(ids, hidden), atol=1e-4, rtol=1e-4
    )


def test_never_means_never(model: M2UGenModel) -> None:
    eager = tiny_model()
    with torch.no_grad():
        eager.language_model.audio_head.weight.mul_(100)
    ended = generate(eager.language_model, PROMPTS, sampling=Sampling(max_new_tokens=30))
    assert any(ended.has_audio)
    assert ended.audio_states is not None
    assert len(ended.audio_states) == sum(ended.has_audio)
    silent = generate(eager.language_model, PROMPTS, sampling=Sampling(max_new_tokens=30, audio="never"))
    assert silent.audio_states is None
    assert max(token for row in silent.tokens for token in row) < VOCABULARY


def test_the_seed_decides_what_is_sampled(model: M2UGenModel) -> None:
    sampling = Sampling(max_new_tokens=16, temperature=1.5, top_p=0.9, audio="never")

    def write(seed: int) -> list[list[int]]:
        return generate(
            model.language_model, PROMPTS, sampling=sampling, generator=torch.Generator().manual_seed(seed)
        ).tokens

    assert write(1) == write(1)
    assert write(1) != write(2)


def test_top_p_keeps_the_smallest_set() -> None:
    scores = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log().expand(400, -1)
    sampling = Sampling(temperature=1.0, top_p=0.7)
    assert set(choose(scores, sampling, torch.Generator().manual_seed(0))) == {0, 1}
    assert set(choose(scores[:1], Sampling(temperature=1.0, top_p=1e-6), None)) == {0}


def test_text_streams_in_whole_characters() -> None:
    pieces: list[str] = []
    data = "naïve ♪".encode()
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"), pieces.append)
    for byte in data:
        stream(0, byte)
    stream.close()
    assert "".join(pieces) == "naïve ♪"
    assert all("\N{REPLACEMENT CHARACTER}" not in piece for piece in pieces)


class Letters:
    """A tokenizer whose token 0 is "a", 1 "b" …"""

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        return "".join(chr(ord("a") + token) for token in ids)


def test_top_k_keeps_the_likeliest() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(400, -1)
    assert set(choose(scores, Sampling(temperature=1.0, top_k=2), torch.Generator().manual_seed(0))) == {2, 3}
    both = Sampling(temperature=1.0, top_k=2, top_p=0.5)  # of what the two have, the likelier holds 0.57
    assert set(choose(scores, both, torch.Generator().manual_seed(0))) == {3}


def test_repetition_makes_tokens_less_likely(model: M2UGenModel) -> None:
    scores = torch.tensor([[2.0, -2.0, 1.0], [2.0, -2.0, 1.0]])
    penalise(scores, [{0, 1}, set()], 2.0)
    assert scores.tolist() == [[1.0, -4.0, 1.0], [2.0, -2.0, 1.0]]
    strong = Sampling(max_new_tokens=20, repetition_penalty=1e6, audio="never")
    (written,) = generate(model.language_model, PROMPTS[:1], sampling=strong).tokens
    assert len(set(written)) == 20


def test_text_ends_where_a_stop_string_appears(model: M2UGenModel) -> None:
    free = Sampling(max_new_tokens=12, audio="never")
    written = generate(model.language_model, PROMPTS, sampling=free).tokens
    word = Letters().decode(written[0][4:6])
    stop = StopText(Letters(), (word,))
    stopped = generate(model.language_model, PROMPTS, sampling=free, stop_text=stop).tokens
    assert stopped[0] == written[0][: len(stopped[0])]
    assert Letters().decode(stopped[0]).endswith(word)
    assert stop.cut(f"words \n{word} more") == "words"
    assert StopText(Letters(), ()).cut("all ") == "all "


def test_a_stream_keeps_stop_strings_to_itself() -> None:
    pieces: list[str] = []
    stream = TextStream(lambda ids: bytes(ids).decode(), pieces.append, ("\n###",))
    for byte in b"one\n## two\n### Instruction":
        stream(0, byte)
    stream.close()
    assert "".join(pieces) == "one\n## two"
    # what may be the beginning waits
    assert pieces[:4] == ["o", "n", "e", "\n## "]


@torch.no_grad()
def test_a_reserved_cache_equals_the_whole_and_grows(model: M2UGenModel) -> None:
    ids, states = torch.arange(12)[None], model.language_model.adapter_states()
    cache = reserved_cache(len(model.language_model.layers), 3)
    parts = [model.language_model(ids[:, a:b], states, cache=cache) for a, b in ((0, 2), (2, 3), (3, 4), (4, 12))]
    whole = model.language_model(ids, states)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=2e-5, rtol=1e-5)
    assert cache.get_seq_length() == 12


@torch.no_grad()
def test_an_answer_that_goes_round_in_circles_ends() -> None:
    assert circling([5, 5, 5, 5]) == 1 and circling([9, 1, 2, 3] + 4 * [1, 2, 3]) == 3
    assert circling([5, 5, 5]) == circling([1, 2, 1, 2, 1, 2, 1]) == circling([]) == 0
    model = tiny_model()
    long = Sampling(max_new_tokens=120, audio="never")  # random weights soon repeat themselves
    written = generate(model.language_model, [[3, 1, 4]], None, long).tokens[0]
    ended = generate(model.language_model, [[3, 1, 4]], None, replace(long, stop_circles=True)).tokens[0]
    assert len(written) == 120 > len(ended) and written[: len(ended)] == ended and not circling(ended)
    circle = next(length for length in range(1, LONGEST_CIRCLE + 1) if circling(written[: len(ended) + 3 * length]))
    assert ended[-circle:] == written[len(ended) : len(ended) + circle]
