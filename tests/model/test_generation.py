"""Writing text: batches, sampling, ends, [AUD] tokens and streaming."""

from __future__ import annotations

import pytest
import torch

from m2ugen.model.generation import Sampling, TextStream, choose, generate
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
