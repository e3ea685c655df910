"""Understanding adapters and the output projector: shapes and the properties that others rely on."""

from __future__ import annotations

import pytest
import torch

from m2ugen.model.adapters import SwiGLUBlock, UnderstandingAdapter
from m2ugen.model.projector import OutputProjector


@pytest.mark.parametrize(("num_queries", "expansion"), [(1, 1), (4, 2)])
def test_shape_and_width(num_queries: int, expansion: int) -> None:
    adapter = UnderstandingAdapter(5, 24, 64, num_queries=num_queries, expansion=expansion)
    assert adapter(torch.randn(3, 5, 24)).shape == (3, num_queries, 64)
    assert adapter.blocks[0].gate.weight.shape == (64 * expansion, 64)


def test_the_loudness_of_encoder_states_does_not_matter() -> None:
    adapter = UnderstandingAdapter(5, 24, 64)
    torch.nn.init.zeros_(adapter.aggregate.bias)
    features = torch.randn(2, 5, 24)
    torch.testing.assert_close(adapter(features), adapter(50 * features))


def test_rows_of_a_batch_do_not_mix() -> None:
    adapter = UnderstandingAdapter(5, 24, 64, num_queries=2)
    features = torch.randn(3, 5, 24)
    torch.testing.assert_close(adapter(features)[1:2], adapter(features[1:2]))


def test_a_block_without_output_weights_is_the_identity() -> None:
    block = SwiGLUBlock(16, 32)
    torch.nn.init.zeros_(block.down.weight)
    states = torch.randn(2, 16)
    torch.testing.assert_close(block(states), states)


@pytest.mark.parametrize("shape", [(10, 40), (1, 120)])
def test_projector_gives_the_decoders_conditioning(shape: tuple[int, int]) -> None:
    projector = OutputProjector(64, shape, hidden_size=32, num_layers=1)
    states, embeddings = torch.randn(3, 8, 64), torch.randn(3, 8, 64)
    output = projector(states, embeddings)
    assert output.shape == (3, *shape)
    torch.testing.assert_close(projector(states[:1], embeddings[:1]), output[:1], atol=1e-5, rtol=1e-5)
