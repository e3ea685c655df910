"""Compiled loops: they work where nothing can be kept on disk, and pick what they should."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import pytest

from m2ugen.model.compiled import NO_SCALE, compiled, multiply
from m2ugen.model.decoders.score.kernels import pick


def test_a_place_for_the_cache_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def nowhere(*functions: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'twice': no locator available for file 'x.py'")
        return real(*functions, **options)

    monkeypatch.setattr(numba, "njit", nowhere)

    def twice(number: int) -> int:
        return 2 * number

    assert compiled(twice)(21) == 42


@pytest.mark.parametrize("rows", [1, 2, 3, 8])
def test_products_of_few_rows(rows: int) -> None:
    rng = np.random.default_rng(rows)
    weight, states = (rng.standard_normal(shape).astype(np.float32) for shape in ((37, 50), (rows, 50)))
    product = np.full((rows, 37), np.nan, dtype=np.float32)
    multiply(weight, NO_SCALE, states, product, 0, 37)
    np.testing.assert_allclose(product, states @ weight.T, rtol=1e-4, atol=1e-5)


def test_what_is_picked_follows_the_odds() -> None:
    odds, rng = np.array([0.1, 0.0, 0.5, 0.4]), np.random.default_rng(0)
    shares = np.bincount([pick(odds.copy(), 1.0, rng.random()) for _ in range(4000)], minlength=4) / 4000
    np.testing.assert_allclose(shares, odds, atol=0.03)
    assert {pick(odds.copy(), 0.85, rng.random()) for _ in range(200)} == {2, 3}
    assert pick(np.array([0.0, 1.0, 0.0]), 1.0, 0.999999) == 1
    assert pick(np.array([0.3, 0.7]), 0.0, 0.5) == 1
