"""Published measuring models load from files in their own naming and compute what their definitions say.

The weights are small and random: what is checked is the network and its features, against transformers, against torch's
own modules, or in closed form.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from m2ugen.errors import InputError, MissingWeights
from m2ugen.evaluate.embedders import imagebind, passt, vggish
from m2ugen.evaluate.embedders.base import EmbeddingCache
from m2ugen.evaluate.embedders.clap import CLAP
from m2ugen.evaluate.embedders.imagebind import ImageBind
from m2ugen.evaluate.embedders.mel import mel, mel_filters
from m2ugen.evaluate.embedders.mert import MERT
from m2ugen.evaluate.embedders.musicnn import MusicnnSpace
from m2ugen.evaluate.embedders.passt import PaSST
from m2ugen.evaluate.embedders.registry import load_measuring
from m2ugen.evaluate.embedders.vggish import VGGish
from m2ugen.media.audio import Audio
from m2ugen.processor import FeatureCache
from tests.model.encoders.test_mert import published, random_hubert


def sound(seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    return (0.4 * np.sin(2 * np.pi * 440 * time) + noise).astype(np.float32)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    return module


def test_mel_filters_are_triangles_with_even_edges() -> None:
    filters = mel_filters(257, 16_000 / 512, 20, 100.0, 7000.0)
    edges = np.linspace(float(mel(100.0)), float(mel(7000.0)), 22)
    centres = 700 * (np.exp(edges[1:-1] / 1127) - 1)
    assert np.abs(filters.argmax(axis=0) * 31.25 - centres).max() <= 31.25
    assert not filters[0].any() and filters.min() == 0 and filters.max() <= 1
    middle = filters[(np.arange(257) * 31.25 > centres[0]) & (np.arange(257) * 31.25 < centres[-1])]
    assert middle.sum(axis=1) == pytest.approx(np.ones(len(middle)))  # neighbours cross at one half
    assert float(mel(1000.0)) == pytest.approx(1000.0, rel=1e-3)  # the scale's definition


def test_vggish_loads_the_published_naming(tmp_path: Path) -> None:
    twin = randomise(VGGish(width=16, dim=8))
    names = set(twin.state_dict())
    assert {"features.0.weight", "features.13.bias", "embeddings.0.weight", "embeddings.4.bias"} <= names
    torch.save({**twin.state_dict(), "pproc.pca_means": torch.zeros(3)}, tmp_path / "vggish.pth")
    with pytest.raises(MissingWeights):  # published sizes end in 128
        VGGish.from_file(tmp_path / "vggish.pth")
    torch.save(randomise(VGGish(width=16)).state_dict(), tmp_path / "vggish.pth")
    loaded = VGGish.from_file(tmp_path)
    frames = loaded.embed(sound(3.0, 16_000))
    assert frames.shape == (3, 128) and np.isfinite(frames).all()
    assert loaded.embed(sound(0.3, 16_000)).shape == (1, 128)


def test_vggish_examples_show_a_tone_where_it_is() -> None:
    shown = vggish.examples(sound(2.0, 16_000))
    assert shown.shape == (2, 96, 64)
    centres = np.linspace(float(mel(125.0)), float(mel(7500.0)), 66)[1:-1]
    assert abs(centres[shown.mean(axis=(0, 1)).argmax()] - float(mel(440.0))) < 45
    assert vggish.examples(np.zeros(20_000, np.float32)) == pytest.approx(np.log(0.01))


def test_vggish_flattens_channels_last() -> None:
    model = VGGish(width=4, dim=4)
    seen = {}
    model.embeddings[0].register_forward_hook(lambda module, inputs, output: seen.update(flat=inputs[0]))
    examples = torch.from_numpy(vggish.examples(sound(1.0, 16_000)))
    model(examples)
    maps = model.features(examples[:, None])
    assert seen["flat"][0, :512].equal(maps[0, :, 0, 0])  # all channels of the first place first


def tiny_passt() -> PaSST:
    model = randomise(PaSST(dim=64, depth=2, heads=1, classes=7))
    assert isinstance(model, PaSST)
    return model


def test_passt_loads_the_published_naming_and_is_a_distribution(tmp_path: Path) -> None:
    twin = tiny_passt()
    extra = {"head_dist.weight": torch.zeros(7, 64), "head_dist.bias": torch.zeros(7)}
    torch.save({**twin.state_dict(), **extra}, tmp_path / "passt.pt")
    loaded = PaSST.from_file(tmp_path / "passt.pt")
    one = loaded.probabilities(sound(4.0, 32_000))
    assert one.shape == (7,) and one.sum() == pytest.approx(1.0, abs=1e-5)
    assert one == pytest.approx(twin.probabilities(sound(4.0, 32_000)))
    assert "blocks.1.attn.qkv.weight" in twin.state_dict() and "patch_embed.proj.weight" in twin.state_dict()
    torch.save({"cls_token": torch.zeros(1, 1, 64)}, tmp_path / "broken.pt")
    with pytest.raises(MissingWeights, match="another model"):
        PaSST.from_file(tmp_path / "broken.pt")


def test_passt_block_is_torchs_own_layer() -> None:
    block = passt.Block(16, 2)
    randomise(block, 1)
    layer = nn.TransformerEncoderLayer(
        16, 2, 64, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
    ).eval()
    own, theirs = block.state_dict(), layer.state_dict()
    names = {"self_attn.in_proj_weight": "attn.qkv.weight", "self_attn.in_proj_bias": "attn.qkv.bias",
             "self_attn.out_proj.weight": "attn.proj.weight", "self_attn.out_proj.bias": "attn.proj.bias",
             "linear1.weight": "mlp.fc1.weight", "linear1.bias": "mlp.fc1.bias", "linear2.weight": "mlp.fc2.weight",
             "linear2.bias": "mlp.fc2.bias"}  # fmt: skip
    layer.load_state_dict({name: own[names.get(name, name)] for name in theirs})
    tokens = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(block(tokens), layer(tokens), atol=1e-5)


def test_passt_reads_both_of_its_tokens_alike() -> None:
    model = tiny_passt()
    one = model.probabilities(sound(2.0, 32_000))
    first, second = model.cls_token.data.clone(), model.dist_token.data.clone()
    model.cls_token.data, model.dist_token.data = second, first
    model.new_pos_embed.data = model.new_pos_embed.data.flip(1)
    assert model.probabilities(sound(2.0, 32_000)) == pytest.approx(one, abs=1e-5)
    model.cls_token.data = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(7))
    assert np.abs(model.probabilities(sound(2.0, 32_000)) - one).max() > 1e-4


def test_passt_averages_pieces_of_ten_seconds() -> None:
    model = tiny_passt()
    first, second = sound(10.0, 32_000), sound(10.0, 32_000, seed=1) * 0.2
    both = model.probabilities(np.concatenate([first, second]))
    assert both == pytest.approx((model.probabilities(first) + model.probabilities(second)) / 2, abs=1e-6)
    assert passt.log_mel(first).shape == (128, 1000)
    # fades of ten decibels are a tenth of ln(10) / 5 ... per decibel: power falls by ln(10)
    louder, softer = passt.log_mel(first), passt.log_mel(first / np.sqrt(10.0))
    strong = louder > louder.max() - 0.3
    assert (louder - softer)[strong] == pytest.approx(np.log(10) / 5, abs=1e-2)


def imagebind_state(model: ImageBind) -> dict[str, torch.Tensor]:
    """A model under the names of the published file, with other modalities beside it."""
    names = {"stem.": "modality_preprocessors.{0}.", "trunk.": "modality_trunks.{0}.", "head.": "modality_heads.{0}."}
    state = {"modality_trunks.text.blocks.0.norm_1.weight": torch.ones(4)}
    for own, modality in (("vision", "vision"), ("sound", "audio")):
        for name, tensor in getattr(model, own).state_dict().items():
            part = name.split(".")[0] + "."
            state[names[part].format(modality) + name.removeprefix(part)] = tensor
    return state


def test_imagebind_loads_the_published_naming(tmp_path: Path) -> None:
    twin = randomise(ImageBind((32, 2, 2), (24, 1, 2), 16))
    assert isinstance(twin, ImageBind)
    state = imagebind_state(twin)
    assert {
        "modality_preprocessors.vision.cls_token",
        "modality_preprocessors.vision.pos_embedding_helper.pos_embed",
        "modality_preprocessors.vision.rgbt_stem.proj.1.weight",
        "modality_preprocessors.audio.rgbt_stem.proj.weight",
        "modality_preprocessors.audio.rgbt_stem.norm_layer.weight",
        "modality_trunks.vision.pre_transformer_layer.0.weight",
        "modality_trunks.audio.blocks.0.attn.bias_k",
        "modality_heads.audio.2.weight",
    } <= state.keys()
    torch.save(state, tmp_path / "imagebind.pth")
    loaded = ImageBind.from_file(tmp_path / "imagebind.pth", heads=(2, 2))
    clips = [Audio(sound(3.0, 22_050, seed)[None], 22_050) for seed in (0, 1)]
    pictures = [np.full((1, 60, 90, 3), value, np.uint8) for value in (20, 220)]
    heard, seen = loaded.audio(clips), loaded.pictures(pictures)
    assert heard.shape == seen.shape == (2, 16)
    assert np.linalg.norm(heard, axis=1) == pytest.approx(np.ones(2), abs=1e-5)
    assert heard == pytest.approx(twin.audio(clips), abs=1e-5) and seen == pytest.approx(
        twin.pictures(pictures), abs=1e-5
    )
    assert np.abs(seen[0] - seen[1]).max() > 1e-3
    del state["modality_heads.vision.2.weight"]
    torch.save(state, tmp_path / "imagebind.pth")
    with pytest.raises(MissingWeights, match="ImageBind"):
        ImageBind.from_file(tmp_path / "imagebind.pth")


def test_imagebind_spectrogram_shows_a_tone_where_it_is() -> None:
    shown = imagebind.spectrograms(sound(5.0, 16_000))
    assert shown.shape == (3, 128, 204)
    centres = np.linspace(float(mel(20.0)), float(mel(8000.0)), 130)[1:-1]
    assert abs(centres[shown[0, :, :190].mean(axis=1).argmax()] - float(mel(440.0))) < 25
    assert shown[0, 0, 203] == pytest.approx(4.268 / 9.138)  # filled up with zeros before normalisation


def tiny_clap(folder: Path) -> tuple[Any, Any]:
    """Write a random CLAP that hears pieces of a second; the model and its tokenizer."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, RobertaTokenizer

    audio = {"spec_size": 64, "window_size": 4, "num_mel_bins": 64, "depths": [1, 1], "num_attention_heads": [2, 2],
             "hidden_size": 16, "patch_embeds_hidden_size": 8, "patch_size": 4, "patch_stride": [4, 4],
             "num_hidden_layers": 2}  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1,
            "vocab_size": 64, "max_position_embeddings": 80, "pad_token_id": 1}  # fmt: skip
    letters = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *"abcdefghijklmnopqrstuvwxyz", "Ġ"]
    tokenizer = RobertaTokenizer(vocab={t: i for i, t in enumerate(letters)}, merges=[], model_max_length=64)
    torch.manual_seed(0)
    model = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)).eval()
    for part in (model, tokenizer, ClapFeatureExtractor(hop_length=800, max_length_s=1, truncation="rand_trunc")):
        part.save_pretrained(folder)
    return model, tokenizer


def test_clap_scores_and_embeds(tmp_path: Path) -> None:
    model, tokenizer = tiny_clap(tmp_path)
    clap = CLAP(tmp_path)
    clip = Audio(sound(2.0, clap.sample_rate)[None], clap.sample_rate)
    assert clap.embed(clip.mono()).shape == (2, 12)  # its pieces last a second
    one, other = clap.similarities([clip, clip], ["a calm piano", "loud drums"])
    assert -1.0 <= one <= 1.0 and one != pytest.approx(other, abs=1e-6)
    with torch.inference_mode():
        text = model.get_text_features(**tokenizer(["a calm piano"], return_tensors="pt")).pooler_output[0]
    mean = torch.from_numpy(clap.embed(clip.mono())).mean(dim=0)
    assert one == pytest.approx(float(torch.cosine_similarity(mean, text, dim=0)), abs=1e-4)
    with pytest.raises(MissingWeights):
        CLAP(published(tmp_path / "mert", random_hubert()))


def test_mert_is_a_space(tmp_path: Path) -> None:
    mert = MERT(published(tmp_path / "mert", random_hubert()))
    frames = mert.embed(sound(10.2, mert.sample_rate))
    assert frames.shape == (2, 16)
    with torch.inference_mode():
        first = mert.encoder(**{n: v[None] for n, v in mert.encoder.prepare(sound(10.2, 24_000)[:122_400]).items()})
    assert frames[0] == pytest.approx(first[0, -1].numpy(), abs=1e-5)


def test_stand_in_names_itself_and_tells_music_apart() -> None:
    space = MusicnnSpace()
    assert "stand-in" in space.name
    tone, noise = sound(6.0, 16_000), np.random.default_rng(0).normal(0, 0.2, 96_000).astype(np.float32)
    frames = space.embed(tone)
    assert frames.ndim == 2 and frames.shape[1] == 400 and len(frames) == 2
    odds = [space.probabilities(each) for each in (tone, noise)]
    assert odds[0].sum() == pytest.approx(1.0, abs=1e-5) and np.abs(odds[0] - odds[1]).sum() > 0.1


def test_embeddings_are_kept_by_content_and_by_weights(tmp_path: Path) -> None:
    class Counting(nn.Module):
        name, sample_rate, calls = "counting", 8000, 0

        def __init__(self, value: float) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor([value]))

        def embed(self, mono: np.ndarray) -> np.ndarray:
            type(self).calls += 1
            return np.full((1, 2), float(self.weight.detach()) + mono.mean(), np.float32)

    cache = EmbeddingCache(FeatureCache(tmp_path))
    clips = [Audio(sound(0.5, 8000, seed)[None], 8000) for seed in (0, 1)]
    first = cache.embeddings(Counting(1.0), clips)
    again = cache.embeddings(Counting(1.0), clips[::-1])
    assert Counting.calls == 2 and first[0] == pytest.approx(again[1])
    cache.embeddings(Counting(2.0), clips)
    assert Counting.calls == 4


def test_measuring_models_are_named_on_the_command_line(tmp_path: Path) -> None:
    torch.save(tiny_passt().state_dict(), tmp_path / "passt.pt")
    found = load_measuring([f"passt={tmp_path / 'passt.pt'}", "bert=some-model"])
    assert [tagger.name for tagger in found.taggers] == ["PaSST", "musicnn, stand-in"] and found.bert == "some-model"
    with pytest.raises(InputError, match="vggish=FILE"):
        load_measuring(["clip=x"])
    with pytest.raises(MissingWeights, match="does not exist"):
        load_measuring(["vggish=/nowhere/vggish.pth"])
    torch.save({"a": object}, tmp_path / "code.pth")
    with pytest.raises(MissingWeights):
        VGGish.from_file(tmp_path / "code.pth")
