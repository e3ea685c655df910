"""The configuration: presets, round trips, and refusal of parts that do not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from m2ugen.config import M2UGenConfig, preset_names
from m2ugen.errors import InputError


@pytest.mark.parametrize("name", preset_names())
def test_presets_survive_saving_and_loading(name: str, tmp_path: Path) -> None:
    config = M2UGenConfig.from_preset(name)
    config.save_pretrained(tmp_path)
    assert M2UGenConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


def test_nano_adapts_the_layers_that_it_tunes() -> None:
    config = M2UGenConfig.from_preset("nano")
    assert config.modalities == ("music", "image", "video")
    assert config.num_adapted_layers == config.num_tuned_layers == 12


def test_a_model_of_one_modality_adapts_fewer_layers() -> None:
    config = M2UGenConfig(music_encoder={"kind": "any"}, tuning={"layers_per_modality": 20})
    assert config.modalities == ("music",)
    assert config.num_adapted_layers == 20


@pytest.mark.parametrize(
    "wrong",
    [
        {"audio_token_ids": list(range(8))},
        {"format_version": 99},
        {"tuning": {"tuned_layers": 33}},
    ],
)
def test_parts_that_do_not_fit_are_refused(wrong: dict) -> None:
    with pytest.raises(InputError):
        M2UGenConfig(**wrong)


def test_an_unknown_preset_names_those_that_exist() -> None:
    with pytest.raises(InputError, match="nano"):
        M2UGenConfig.from_preset("mega")
