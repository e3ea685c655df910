"""8-bit matrices from the cache are those that would have been computed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from m2ugen.model import rounded
from m2ugen.model.lora import TunedLinear
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.quantize import Int8Linear
from tests.model.tiny import tiny_features, tiny_model


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2UGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / rounded.FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@torch.no_grad()
def states(folder: Path) -> torch.Tensor:
    model = M2UGenModel.from_pretrained(folder, quantise="int8")
    ids = torch.arange(8)[None]
    return model.language_model(ids, model.adapter_states(tiny_features(1)))


def test_the_second_loading_reads_what_the_first_rounded(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = states(folder)
    (kept,) = cache.iterdir()

    def refuse(*_: object) -> None:
        raise AssertionError("it was rounded again")

    monkeypatch.setattr(Int8Linear, "from_weight", refuse)
    monkeypatch.setattr(TunedLinear, "_sums", refuse)
    assert torch.equal(states(folder), first)
    assert list(cache.iterdir()) == [kept]


def test_other_weights_are_other_matrices(folder: Path, cache: Path) -> None:
    first = states(folder)
    tiny_model(seed=1).save_trained(folder, dtype=None)
    second = states(folder)
    assert not torch.allclose(first, second)
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("content", [b"", b"no tensors", b"\xff" * 200])
def test_a_broken_file_is_done_without(folder: Path, cache: Path, content: bytes) -> None:
    first = states(folder)
    (kept,) = cache.iterdir()
    whole = {name: tensor.clone() for name, tensor in load_file(kept).items()}  # not the file itself, mapped
    kept.write_bytes(content)
    assert torch.equal(states(folder), first)
    again = load_file(kept)
    assert again.keys() == whole.keys() and all(torch.equal(again[name], whole[name]) for name in whole)


def test_a_cache_that_cannot_be_written_is_done_without(folder: Path, cache: Path) -> None:
    cache.parent.mkdir()
    cache.write_text("a file, not a folder")
    assert torch.equal(states(folder), states(folder))


def test_what_was_not_used_for_long_goes(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states(folder)
    (old,) = cache.iterdir()
    os.utime(old, (1, 1))
    monkeypatch.setattr(rounded, "BUDGET", old.stat().st_size)
    tiny_model(seed=1).save_trained(folder, dtype=None)
    states(folder)
    assert len(list(cache.iterdir())) == 1 and not old.exists()


def test_large_models_are_not_kept(folder: Path) -> None:
    config = M2UGenModel.from_pretrained(folder).config
    trained = folder / "bridge.safetensors"
    assert rounded.place(config, folder, trained, rounded.LARGEST) is not None
    assert rounded.place(config, folder, trained, rounded.LARGEST + 1) is None
