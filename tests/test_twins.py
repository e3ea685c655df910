"""Every preset as a twin of tiny sizes: the parts in the published layouts, one folder, the same commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import soundfile
import torch

from m2ugen.cli.app import run_arguments
from m2ugen.config import DecoderConfig, M2UGenConfig
from m2ugen.examples import example
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.registry import load_component
from m2ugen.pipeline import M2UGen
from m2ugen.weights.tokenizer import load_tokenizer
from tests.convert.checkpoints import write_tokenizer_model
from tests.model.decoders import test_audioldm2, test_musicgen
from tests.model.encoders import test_mert, test_vit, test_vivit

VOCABULARY = 330
LANGUAGE_MODEL = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": False,
}
NO_MUSIC = "mu-llama"


def save_decoder(name: str, folder: Path) -> DecoderConfig:
    """Writes the preset's decoder, and describes it."""
    decoder = M2UGenConfig.from_preset(name).decoder
    assert decoder is not None
    if name == "audioldm2":
        diffusers.AudioLDM2Pipeline(**test_audioldm2.tiny_parts(window=4096)).save_pretrained(folder / "audioldm2")
        decoder.source, decoder.options = "audioldm2", {"num_tokens": test_audioldm2.TOKENS, "num_inference_steps": 3}
    else:
        test_musicgen.save_tiny(folder / "musicgen", "melody" if "melody" in name else "mono")
        decoder.source, decoder.options = "musicgen", {"num_tokens": test_musicgen.TOKENS}
    decoder.conditioning_shape = list(load_component(decoder, folder).conditioning_shape)
    return decoder


def save_twin(name: str, folder: Path) -> Path:
    """A model of the preset ``name`` in ``folder``: its configuration with other sizes and sources, random weights."""
    preset = M2UGenConfig.from_preset(name)
    test_mert.published(folder / "mert", test_mert.random_hubert())
    test_vit.published(folder / "vit")
    test_vivit.published(folder / "vivit")
    for modality, part in (("music", "mert"), ("image", "vit"), ("video", "vivit")):
        if modality in preset.modalities:
            encoder = getattr(preset, f"{modality}_encoder")
            encoder.source = part
            loaded: Any = load_component(encoder, folder)
            encoder.num_tokens, encoder.dim = loaded.num_tokens, loaded.dim
    config = M2UGenConfig(
        music_encoder=preset.music_encoder,
        image_encoder=preset.image_encoder,
        video_encoder=preset.video_encoder,
        language_model=LANGUAGE_MODEL,
        adapter=preset.adapter,
        tuning={"layers_per_modality": 6 if name == NO_MUSIC else 2, "lora_rank": 4},
        projector={"hidden_size": 16, "num_layers": 1},
        decoder=None if preset.decoder is None else save_decoder(name, folder),
        prompt_format=preset.prompt_format,
    )
    torch.manual_seed(0)
    model = M2UGenModel(config)
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer_model = write_tokenizer_model(folder / "sentencepiece", VOCABULARY)
    load_tokenizer(tokenizer_model.parent).save_pretrained(folder / "language_model")
    return folder


@pytest.fixture(scope="module", params=["musicgen", "musicgen-melody", "audioldm2", NO_MUSIC])
def twin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    return request.param, save_twin(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def song(tmp_path: Path) -> Path:
    time = np.arange(24_000) / 16_000
    soundfile.write(tmp_path / "song.wav", 0.3 * np.sin(440 * time) * np.sin(3 * time), 16_000)
    return tmp_path / "song.wav"


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    capfd.readouterr()
    assert run_arguments([*arguments, "--json"]) == 0, capfd.readouterr().err
    found: dict[str, Any] = json.loads(capfd.readouterr().out.splitlines()[-1])
    return found


def test_commands(
    twin: tuple[str, Path],
    song: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, folder = twin
    monkeypatch.setenv("M2UGEN_CACHE", str(tmp_path / "cache"))
    picture, video, output = str(example("bright")), str(example("video")), str(tmp_path / "out.wav")
    told = run(capfd, "ask", "What is this?", "--music", str(song), "--model", str(folder))
    assert told["output"] is None and told["model"] == str(folder)
    info = run(capfd, "info", "--model", str(folder))
    assert info["complete"]
    if name == NO_MUSIC:
        assert run_arguments(["generate", "a song", "--model", str(folder), "--output", output]) == 2
        assert "makes no music" in capfd.readouterr().err and not Path(output).exists()
        assert run_arguments(["ask", "what?", "--image", picture, "--model", str(folder)]) == 2
        return
    options = ["--seed", "3", "--model", str(folder), "--output", output]
    made = run(capfd, "generate", "a song", "--image", picture, "--video", video, "--duration", "1.2", *options)
    assert made["duration"] == pytest.approx(1.2, abs=1e-3) and soundfile.info(output).duration == made["duration"]
    first = Path(output).read_bytes()
    run(capfd, "generate", "a song", "--image", picture, "--video", video, "--duration", "1.2", *options)
    assert Path(output).read_bytes() == first
    edited = run(capfd, "edit", "add drums", "--music", str(song), *options)
    assert edited["duration"] == pytest.approx(1.5, abs=1e-3)
    slower = run(capfd, "edit", "make it 50 % slower", "--music", str(song), *options)
    assert slower["duration"] > 2  # by stretching: the source stays


def test_the_projected_states_drive_the_decoder(
    twin: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, folder = twin
    if name == NO_MUSIC:
        pytest.skip("makes no music")
    monkeypatch.setenv("M2UGEN_CACHE", str(tmp_path))
    model = M2UGen.from_pretrained(folder, quantise=None)
    sound = model.generate("a song", duration=1, seed=1).sound[0]
    caption = model.generate("a song", duration=1, seed=1, conditioning="caption").sound[0]
    projector = model.model.projector
    assert projector is not None
    projector.output.bias.data += 20 * torch.randn(
        projector.output.bias.shape, generator=torch.Generator().manual_seed(0)
    )
    assert not np.array_equal(model.generate("a song", duration=1, seed=1).sound[0], sound)
    assert np.array_equal(model.generate("a song", duration=1, seed=1, conditioning="caption").sound[0], caption)
