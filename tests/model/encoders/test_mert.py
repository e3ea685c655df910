"""MERT: a published folder loads, equals HuBERT where they coincide, and padding never counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.encoders.mert import UNUSED, WEIGHT_NORM, DeepNormLayer, MERTConfig, MERTEncoder, MERTModel
from m2ugen.model.encoders.mert_features import LOWEST, ConstantQ

RATE = 24_000
TINY: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"do_stable_layer_norm": True},  # the 330M model's form
    {"feat_proj_layer_norm": False},
    {"feat_extract_norm": "layer", "conv_bias": True},
    {"conv_pos_batch_norm": True},
]
MERT_OPTIONS: list[dict[str, Any]] = [
    {"deepnorm": True},
    {"feature_extractor_cqt": True, "feature_extractor_cqt_bins": 84, "sample_rate": 16_000},
]


def music(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    samples = round(seconds * rate)
    noise = np.random.default_rng(seed).normal(0.02, 0.1, samples)
    return (noise + 0.3 * np.sin(np.arange(samples) * 0.05)).astype(np.float32)


def random_hubert(**options: Any) -> HubertModel:
    torch.manual_seed(1)
    hubert = HubertModel(HubertConfig(**TINY, **options)).eval()
    for parameter in hubert.parameters():  # fresh biases are zero and norms one: they would hide mistakes
        parameter.data += 0.1 * torch.randn_like(parameter)
    if hubert.encoder.pos_conv_embed.batch_norm is not None:
        hubert.encoder.pos_conv_embed.batch_norm.running_mean.uniform_(-1, 1)
    return hubert


def published(folder: Path, hubert: HubertModel, weights: str = "pytorch_model.bin", **settings: Any) -> Path:
    """``hubert`` as MERT folders are published: old names of the weight norm, code by name, a vector for training."""
    old = {new: name for name, new in WEIGHT_NORM.items()}
    state = {old.get(name, name): tensor.contiguous() for name, tensor in hubert.state_dict().items()}
    assert "masked_spec_embed" in state
    folder.mkdir(exist_ok=True)
    if weights.endswith(".bin"):
        torch.save(state, folder / weights)
    else:
        save_file(state, folder / weights, {"format": "pt"})
    extras = {"auto_map": {"AutoModel": "modeling_MERT.MERTModel"}, "feature_extractor_cqt": False, "deepnorm": False}
    config = {**hubert.config.to_dict(), "model_type": "mert_model", "architectures": ["MERTModel"], **extras}
    config |= {"sample_rate": RATE, "attention_relax": 32.0}
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = {"do_normalize": True, "feature_extractor_type": "Wav2Vec2FeatureExtractor", "sampling_rate": RATE}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor | settings))
    return folder


def random_model(**options: Any) -> MERTModel:
    torch.manual_seed(2)
    model = MERTModel(MERTConfig(**TINY, **options)).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn_like(parameter)
    return model


def random_encoder(window_seconds: float = 0.2, batch_seconds: float = 60.0, **options: Any) -> MERTEncoder:
    encoder = MERTEncoder(MERTConfig(**TINY, **options), window_seconds, batch_seconds)
    encoder.model.load_state_dict(random_model(**options).state_dict())
    return encoder


def alone(encoder: MERTEncoder, waveform: np.ndarray) -> torch.Tensor:
    return encoder(**{name: tensor[None] for name, tensor in encoder.prepare(waveform).items()})[0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("weights", ["pytorch_model.bin", "model.safetensors"])
def test_a_published_folder_equals_hubert(tmp_path: Path, options: dict[str, Any], weights: str) -> None:
    hubert = random_hubert(**options)
    encoder = MERTEncoder.from_pretrained(published(tmp_path, hubert, weights))
    waveform = torch.from_numpy(np.stack([music(0.3, seed) for seed in range(2)]))
    with torch.no_grad():
        expected = hubert(waveform, output_hidden_states=True)
        states = list(encoder.model(waveform))
    # A pre-norm model's last states are normalised, as they were in the versions that MERT was published with.
    wanted = [*expected.hidden_states[:-1], expected.last_hidden_state]
    assert len(states) == encoder.num_tokens == 4
    torch.testing.assert_close(torch.stack(states), torch.stack(wanted), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
def test_features_are_the_means_of_hubert_on_the_published_preprocessing(tmp_path: Path, normalise: bool) -> None:
    hubert = random_hubert(do_stable_layer_norm=True)
    folder = published(tmp_path, hubert, do_normalize=normalise)
    encoder, waveform = MERTEncoder.from_pretrained(folder), music(0.5)
    assert isinstance(encoder, Encoder) and encoder.sample_rate == RATE
    inputs = Wav2Vec2FeatureExtractor.from_pretrained(folder)(waveform, sampling_rate=RATE, return_tensors="pt")
    with torch.no_grad():
        expected = hubert(inputs["input_values"], output_hidden_states=True)
    wanted = torch.cat([*expected.hidden_states[:-1], expected.last_hidden_state]).mean(dim=1)
    torch.testing.assert_close(alone(encoder, waveform), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [*OPTIONS, *MERT_OPTIONS], ids=str)
def test_padding_never_counts(options: dict[str, Any]) -> None:
    model = random_model(**options)
    lengths = [4000, 2345, 2345, 401]
    waveforms = [torch.from_numpy(music(length / RATE, seed)) for seed, length in enumerate(lengths)]
    padded = torch.full((4, 4000), 7.0)  # not even what stands in the padding does
    for row, waveform in enumerate(waveforms):
        padded[row, : len(waveform)] = waveform
    together = [states.clone() for states in model(padded, lengths)]
    for row, waveform in enumerate(waveforms):
        for layer, states in enumerate(model(waveform[None])):
            assert states.shape[1] == model.num_frames(torch.tensor(lengths))[row]
            torch.testing.assert_close(together[layer][row, : states.shape[1]], states[0], rtol=1e-5, atol=1e-5)


def test_a_file_is_the_weighted_mean_of_its_windows() -> None:
    """2.3 windows: each frame counts once, the rest's as much as the others'."""
    encoder = random_encoder(do_stable_layer_norm=True)
    waveform = music(2.3 * 0.2)
    inputs = encoder.prepare(waveform)
    assert inputs["lengths"].tolist() == [4800, 4800, 1440] and inputs["windows"].shape == (3, 4800)
    assert not inputs["windows"][2, 1440:].any()
    normalised = (waveform - waveform.mean()) / np.sqrt(waveform.var() + 1e-7)
    total, frames = torch.zeros(4, 16), 0
    for start in (0, 4800, 9600):
        states = torch.cat(list(encoder.model(torch.from_numpy(normalised[None, start : start + 4800]))))
        total, frames = total + states.sum(dim=1), frames + states.shape[1]
    assert frames == 14 + 14 + 4
    torch.testing.assert_close(alone(encoder, waveform), total / frames, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("batch_seconds", [0.01, 0.4, 60.0])
@pytest.mark.parametrize("options", [{}, *MERT_OPTIONS], ids=str)
def test_a_batch_equals_its_files(batch_seconds: float, options: dict[str, Any]) -> None:
    encoder = random_encoder(0.2, batch_seconds, **options)
    files = [music(seconds, seed) for seed, seconds in enumerate((0.5, 0.03, 0.2, 0.93))]
    batch = encoder(**encoder.collate([encoder.prepare(file) for file in files]))
    for row, file in zip(batch, files):
        torch.testing.assert_close(row, alone(encoder, file), rtol=1e-5, atol=1e-5)


def test_rests_without_a_frame_are_left_out_and_short_files_are_followed_by_silence() -> None:
    encoder = random_encoder()
    assert encoder.model.min_samples == 400
    assert encoder.prepare(np.concatenate([music(0.2), music(399 / RATE)]))["lengths"].tolist() == [4800]
    assert encoder.prepare(music(0.2 + 400 / RATE))["lengths"].tolist() == [4800, 400]
    for waveform in (music(1 / RATE), np.zeros(4800, dtype=np.float32)):
        assert torch.isfinite(alone(encoder, waveform)).all()


def test_relaxed_attention_is_attention() -> None:
    scores = 50.0 * torch.randn(3, 7, 7, dtype=torch.float64)
    relaxed = scores / 32.0
    relaxed = (relaxed - relaxed.amax(dim=-1, keepdim=True)) * 32.0
    torch.testing.assert_close(relaxed.softmax(dim=-1), scores.softmax(dim=-1))
    waveform = torch.from_numpy(music(0.1))[None]
    for options in ({}, {"deepnorm": True}):
        plain, relaxed_model = random_model(**options), random_model(**options, attention_relax=32)
        for one, other in zip(plain(waveform), relaxed_model(waveform)):
            assert torch.equal(one, other)


def test_deepnorm_scales_residuals() -> None:
    model = random_model(deepnorm=True)
    layer = model.encoder.layers[0]
    assert isinstance(layer, DeepNormLayer) and layer.residual_scale == pytest.approx(6**0.25)
    inputs = torch.randn(1, 9, 16)
    heads = [getattr(layer.attention, f"{name}_proj")(inputs).view(9, 2, 8).transpose(0, 1) for name in "qkv"]
    weights = (heads[0] @ heads[1].transpose(1, 2) / 8**0.5).softmax(dim=-1)
    attended = layer.attention.out_proj((weights @ heads[2]).transpose(0, 1).reshape(1, 9, 16))
    middle = layer.layer_norm(6**0.25 * inputs + attended)
    inner = functional.gelu(layer.feed_forward.intermediate_dense(middle))
    expected = layer.final_layer_norm(6**0.25 * middle + layer.feed_forward.output_dense(inner))
    torch.testing.assert_close(layer(inputs), expected, rtol=1e-5, atol=1e-5)
    layer.residual_scale = 1.0  # a layer of HuBERT's
    torch.testing.assert_close(layer(inputs), super(DeepNormLayer, layer).forward(inputs), rtol=1e-5, atol=1e-5)


def test_the_constant_q_transform_finds_a_tone_by_its_definition() -> None:
    rate, bins, bin_index = 16_000, 84, 45
    transform = ConstantQ(rate, bins)
    frequency = LOWEST * 2 ** (bin_index / 12)
    tone = torch.sin(2 * np.pi * frequency / rate * torch.arange(rate, dtype=torch.float64)).float()
    magnitudes = transform(tone[None])
    assert magnitudes.shape == (1, 51, bins) and (magnitudes[0, 25].argmax() == bin_index)
    length = int(np.ceil(rate / (2 ** (1 / 12) - 1) / frequency))
    places = np.arange(length) - (length + 1) // 2
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    kernel = window * np.exp(2j * np.pi * frequency / rate * places) / window.sum() * np.sqrt(length)
    expected = abs((tone.numpy()[25 * 320 + places] * kernel).sum())
    assert magnitudes[0, 25, bin_index].item() == pytest.approx(expected, rel=1e-4)
    assert expected == pytest.approx(0.5 * np.sqrt(length), rel=0.01)


def test_constant_q_features_stand_beside_the_convolutions() -> None:
    model = random_model(**MERT_OPTIONS[1])
    waveform = torch.from_numpy(music(0.2, rate=16_000))[None]
    assert model.constant_q is not None
    features = model.feature_extractor(waveform).transpose(1, 2)
    beside = torch.cat([features, model.constant_q(waveform)[:, : features.shape[1]]], dim=2)
    projected = model.feature_projection.projection(functional.layer_norm(
        beside, (8 + 84,), model.feature_projection.layer_norm.weight, model.feature_projection.layer_norm.bias
    ))  # fmt: skip
    expected = next(iter(model.encoder(projected, None)))
    torch.testing.assert_close(next(iter(model(waveform))), expected, rtol=1e-5, atol=1e-5)
    assert "constant_q.kernels" not in model.state_dict()


def test_unusable_options() -> None:
    for options, message in (
        ({"deepnorm": True, "do_stable_layer_norm": True}, "post-norm"),
        ({"feature_extractor_cqt": True}, "480 samples apart"),
        ({"feature_extractor_cqt": True, "sample_rate": 4000}, "above half"),
    ):
        with pytest.raises(InputError, match=message):
            MERTModel(MERTConfig(**TINY, **options))
    with pytest.raises(InputError, match=r"window_seconds=0\.01 is too short"):
        random_encoder(window_seconds=0.01)
    for waveform in (np.zeros(0, dtype=np.float32), np.zeros((2, 5000), dtype=np.float32)):
        with pytest.raises(InputError, match="mono waveform"):
            random_encoder().prepare(waveform)


def test_missing_and_damaged_weights_are_named(tmp_path: Path) -> None:
    hubert = random_hubert()
    with pytest.raises(MissingWeights, match=r"no config\.json"):
        MERTEncoder.from_pretrained(tmp_path)
    folder = published(tmp_path / "mert", hubert, "model.safetensors")
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    state = load_file(path)
    for change, message in (
        ({"encoder.layers.1.attention.q_proj.bias": None}, r"misses encoder\.layers\.1\.attention\.q_proj\.bias"),
        ({"encoder.layers.9.surplus": torch.zeros(1)}, r"has too much encoder\.layers\.9\.surplus"),
        ({"encoder.layer_norm.bias": torch.zeros(3)}, r"another shape encoder\.layer_norm\.bias"),
    ):
        save_file({name: tensor for name, tensor in (state | change).items() if tensor is not None}, path)
        with pytest.raises(MissingWeights, match=message):
            MERTEncoder.from_pretrained(folder)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(MissingWeights, match="damaged"):
        MERTEncoder.from_pretrained(folder)
    path.unlink()
    with pytest.raises(MissingWeights, match="no weights in"):
        MERTEncoder.from_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(MissingWeights, match="damaged"):
        MERTEncoder.from_pretrained(folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(InputError, match="type 'vit'"):
        MERTEncoder.from_pretrained(folder)


def test_the_state_tells_settings_apart(tmp_path: Path) -> None:
    """Features are kept by an encoder's state: other windows must have another."""
    folder = published(tmp_path, random_hubert())
    minute, short = MERTEncoder.from_pretrained(folder), MERTEncoder.from_pretrained(folder, window_seconds=5.12)
    assert not torch.equal(minute.state_dict()["settings"], short.state_dict()["settings"])
    assert not any(tensor.is_meta for tensor in minute.state_dict().values())
    assert not any(parameter.requires_grad for parameter in minute.parameters())


def test_full_sizes_have_the_published_number_of_parameters() -> None:
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
    for options, tokens, published_count in (
        ({}, 13, 94_371_712),  # MERT-v1-95M, which has HuBERT base's count
        ({**large, "do_stable_layer_norm": True, "attention_relax": 32.0}, 25, 315_428_992),  # MERT-v1-330M
    ):
        with torch.device("meta"):
            encoder = MERTEncoder(MERTConfig(**options))
        hidden, inner = encoder.dim, encoder.model.config.intermediate_size
        layer = 4 * hidden * (hidden + 1) + 2 * hidden * inner + inner + hidden + 4 * hidden
        front = 512 * (10 + 4 * 3 * 512 + 2 * 2 * 512) + 2 * 512 + 2 * 512 + 513 * hidden
        positions = hidden * hidden // 16 * 128 + 128 + hidden
        counted = front + positions + 2 * hidden + (tokens - 1) * layer
        assert sum(parameter.numel() for parameter in encoder.parameters()) == counted
        assert counted + hidden == published_count  # and the vector that hid frames in training
        assert (encoder.num_tokens, encoder.dim) == (tokens, hidden)
    assert "masked_spec_embed" in UNUSED
