"""The extended Llama: what it starts as, what it hears, and that every short cut gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DynamicCache, LlamaForCausalLM

from m2ugen.model.language_model import IGNORED, LanguageModel
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.quantize import Int8Linear
from tests.model.tiny import VOCABULARY, tiny_config, tiny_features, tiny_model

CLOSE = {"atol": 2e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def model() -> M2UGenModel:
    return tiny_model()


def tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, VOCABULARY + 8, (batch, length), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_an_untrained_model_computes_what_its_llama_computes() -> None:
    fresh = M2UGenModel(tiny_config()).eval()
    ids = tokens(2, 9).clamp(max=VOCABULARY - 1)
    hidden = fresh.language_model(ids, fresh.adapter_states(tiny_features(2)))
    logits = fresh.language_model.logits(hidden)[..., :VOCABULARY]
    torch.testing.assert_close(logits, fresh.language_model.llama(ids).logits, **CLOSE)


@torch.no_grad()
def test_every_modality_is_heard(model: M2UGenModel) -> None:
    ids = tokens(1, 6)
    silent = model.language_model(ids)
    for name, features in tiny_features(1).items():
        assert not torch.allclose(model.language_model(ids, model.adapter_states({name: features})), silent, atol=1e-3)


@torch.no_grad()
def test_absence_per_row_equals_absence(model: M2UGenModel) -> None:
    ids, features = tokens(3, 7), tiny_features(3)
    present = {
        "music": torch.tensor([True, False, False]),
        "image": torch.tensor([False, False, True]),
        "video": torch.tensor([True, False, True]),
    }
    together = model.language_model(ids, model.adapter_states(features, present))
    for row in range(3):
        heard = {name: features[name][row : row + 1] for name in features if present[name][row]}
        alone = model.language_model(ids[row : row + 1], model.adapter_states(heard))
        torch.testing.assert_close(together[row : row + 1], alone, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side_changes_nothing(model: M2UGenModel, side: str) -> None:
    ids, length = tokens(2, 8), 5
    mask = torch.ones(2, 8, dtype=torch.long)
    real = slice(8 - length, None) if side == "left" else slice(0, length)
    mask[1] = 0
    mask[1, real] = 1
    padded = model.language_model(ids, attention_mask=mask)
    torch.testing.assert_close(padded[:1], model.language_model(ids[:1]), **CLOSE)
    torch.testing.assert_close(padded[1:, real], model.language_model(ids[1:, real]), **CLOSE)


@torch.no_grad()
def test_cache_equals_no_cache(model: M2UGenModel) -> None:
    ids, states = tokens(2, 9), model.adapter_states(tiny_features(2))
    cache = DynamicCache(config=model.language_model.llama_config)
    parts = [model.language_model(ids[:, a:b], states, cache=cache) for a, b in ((0, 4), (4, 5), (5, 9))]
    torch.testing.assert_close(torch.cat(parts, dim=1), model.language_model(ids, states), **CLOSE)


@torch.no_grad()
def test_lower_then_upper_equals_the_whole(model: M2UGenModel) -> None:
    ids, states = tokens(2, 9), model.adapter_states(tiny_features(2))
    mask = torch.ones(2, 9, dtype=torch.long)
    mask[0, 6:] = 0
    lower = model.language_model.forward_lower(ids, mask)
    upper = model.language_model.forward_upper(lower, states, mask)
    whole = model.language_model(ids, states, mask)
    torch.testing.assert_close(upper[mask.bool()], whole[mask.bool()], **CLOSE)


@torch.no_grad()
def test_merging_changes_no_output() -> None:
    model = tiny_model()
    ids, features = tokens(2, 9), tiny_features(2)
    before = model.language_model(ids, model.adapter_states(features))
    saved = model.trained_state()
    model.language_model.merge_lora()
    torch.testing.assert_close(model.language_model(ids, model.adapter_states(features)), before, **CLOSE)
    assert all(torch.equal(tensor, saved[name]) for name, tensor in model.trained_state().items())


@torch.no_grad()
def test_8_bit_weights_stay_near() -> None:
    model = tiny_model()
    ids, features = tokens(2, 9), tiny_features(2)
    before = model.language_model(ids, model.adapter_states(features))
    model.language_model.quantize_for_cpu()
    after = model.language_model(ids, model.adapter_states(features))
    assert torch.nn.functional.cosine_similarity(before, after, dim=-1).min() > 0.99


@torch.no_grad()
def test_a_llama_in_half_precision_quantises_as_in_full(tmp_path: Path) -> None:
    """LoRA is merged in fp32, whatever the files hold."""
    model = tiny_model()
    model.language_model.llama.half().float()  # numbers that half precision holds
    model.save_pretrained(tmp_path / "full")
    model.save_pretrained(tmp_path / "half")
    LlamaForCausalLM.from_pretrained(tmp_path / "full" / "language_model").half().save_pretrained(
        tmp_path / "half" / "language_model"
    )
    ids, features = tokens(1, 6), tiny_features(1)
    found = []
    for name in ("full", "half"):
        loaded = M2UGenModel.from_pretrained(tmp_path / name, quantise="int8")
        assert not any(isinstance(module, torch.nn.Linear) for module in loaded.language_model.layers[0].modules())
        found.append(loaded.language_model(ids, loaded.adapter_states(features)))
    torch.testing.assert_close(found[0], found[1])


@torch.no_grad()
@pytest.mark.parametrize("place", ["cpu", "disk"])
def test_layers_may_lie_elsewhere(place: str, tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path / "model")
    layers = {f"model.layers.{k}": "cpu" if k < 3 else place for k in range(8)}
    outer = dict.fromkeys(("model.embed_tokens", "model.norm", "model.rotary_emb", "lm_head"), "cpu")
    placed = M2UGenModel.from_pretrained(
        tmp_path / "model", device_map={**outer, **layers}, offload_folder=tmp_path / "offload"
    )
    assert any(parameter.is_meta for parameter in placed.parameters()) == (place == "disk")
    ids, features = tokens(1, 6), tiny_features(1)
    expected = model.language_model(ids, model.adapter_states(features))
    torch.testing.assert_close(placed.language_model(ids, placed.adapter_states(features)), expected, **CLOSE)


@torch.no_grad()
@pytest.mark.parametrize("vnni", sorted({False, torch.cpu._is_vnni_supported()}))
def test_8_bit_rows_of_very_different_height_keep_their_precision(vnni: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: vnni)
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(64, 48)
    torch.nn.init.normal_(linear.weight, generator=generator)
    int8 = Int8Linear.from_weight(linear.weight, linear.bias)
    steps = linear.weight.abs().amax(dim=1, keepdim=True) / 127
    linear.weight.copy_(torch.round(linear.weight / steps) * steps)  # what is left is the activations' rounding
    states = torch.randn(2, 5, 64, generator=generator)
    states[:, 0] *= 1000
    states[:, 1] = 0
    error = (int8(states) - linear(states)).norm(dim=-1) / linear(states).norm(dim=-1)
    assert error.max() < 1e-3


def test_cross_entropy_counts_labelled_positions_only(model: M2UGenModel) -> None:
    hidden = torch.randn(2, 6, 32, generator=torch.Generator().manual_seed(0))
    labels = tokens(2, 6).masked_fill(torch.arange(6) < 3, IGNORED)
    scores = model.language_model.logits(hidden).log_softmax(-1)
    expected = -torch.stack([scores[b, t - 1, labels[b, t]] for b in range(2) for t in range(3, 6)]).mean()
    torch.testing.assert_close(model.language_model.cross_entropy(hidden, labels), expected)


def test_audio_tokens_start_apart_and_repeatably() -> None:
    language_model = LanguageModel(tiny_config())
    starts = []
    for _ in range(2):
        language_model.init_audio_tokens(torch.Generator().manual_seed(3))
        starts.append(language_model.audio_embeddings.weight.detach().clone())
    assert torch.pdist(starts[0]).min() > 0
    assert torch.equal(*starts)


def test_bf16_works(model: M2UGenModel) -> None:
    half = tiny_model().to(torch.bfloat16)
    features = {name: value.bfloat16() for name, value in tiny_features(1).items()}
    with torch.no_grad():
        hidden = half.language_model(tokens(1, 6), half.adapter_states(features))
    assert hidden.dtype == torch.bfloat16
    assert hidden.isfinite().all()
