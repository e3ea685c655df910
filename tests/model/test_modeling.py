"""The whole model: what each stage trains, losses, and saving."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.modeling import STAGES, M2UGenModel
from m2ugen.model.registry import load_component
from tests.model.tiny import VOCABULARY, tiny_config, tiny_features, tiny_model

AUDIO = list(range(VOCABULARY, VOCABULARY + 8))


def batch() -> dict[str, torch.Tensor]:
    ids = torch.tensor([[1, 5, 7, *AUDIO, 2], [1, 6, 8, 9, 11, 12, 13, 14, 2, 0, 0, 0]])
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    labels = ids.masked_fill(mask == 0, -100)
    labels[:, :2] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("stage", STAGES)
def test_gradients_reach_exactly_the_stages_parameters(stage: str) -> None:
    model = tiny_model()
    model.train_only(stage)
    output = model(**batch(), features=tiny_features(2), targets=torch.rand(1, 3, 4))
    output.loss.backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert reached == set(model.trainable_groups(stage))


def test_frozen_weights_are_in_no_stage() -> None:
    model = tiny_model()
    names = {name for stage in STAGES for name in model.trainable_groups(stage)}
    assert not [name for name in names if ".base." in name or "embed_tokens" in name or "lm_head" in name]
    assert "language_model.audio_embeddings.weight" not in names
    thawed = tiny_model(tuning={"layers_per_modality": 2, "lora_rank": 4})
    assert "language_model.audio_embeddings.weight" in thawed.trainable_groups("decoder")


def test_a_kept_lower_half_gives_the_same_loss() -> None:
    model, inputs = tiny_model(), batch()
    lower = model.language_model.forward_lower(inputs["input_ids"], inputs["attention_mask"])
    targets = torch.rand(1, 3, 4)
    whole = model(**inputs, features=tiny_features(2), targets=targets)
    upper = model(**inputs, features=tiny_features(2), targets=targets, lower=lower)
    torch.testing.assert_close(whole.loss, upper.loss)


def test_rows_without_audio_do_not_enter_the_conditioning_error() -> None:
    model, inputs = tiny_model(), batch()
    output = model(**inputs, targets=torch.zeros(1, 3, 4))
    assert output.conditioning.shape == (1, 3, 4)
    first = {name: tensor[:1] for name, tensor in inputs.items()}
    torch.testing.assert_close(
        output.conditioning_error, model(**first, targets=torch.zeros(1, 3, 4)).conditioning_error
    )


@torch.no_grad()
def test_audio_tokens_of_an_earlier_turn_are_no_answer() -> None:
    model = tiny_model()
    ids = torch.tensor([[1, 5, *AUDIO, 2, 6, 7, *AUDIO, 2], [1, 5, *AUDIO, 2, 6, 7, 8, 9, 3, 4, 5, 6, 7, 8, 2]])
    labels = ids.clone()
    labels[:, :13] = -100
    output = model(ids, labels=labels, targets=torch.zeros(1, 3, 4))
    assert output.conditioning.shape == (1, 3, 4)
    states = output.hidden_states[:1, 12:20]  # those before the second [AUD0] and so on
    torch.testing.assert_close(output.conditioning / model.target_scale, model.conditioning(states))


def test_saving_and_loading_gives_the_same_model(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_pretrained(tmp_path)
    again = M2UGenModel.from_pretrained(tmp_path, quantise=None)
    inputs, features = batch(), tiny_features(2)
    inputs.pop("labels")
    with torch.no_grad():
        expected, found = model(**inputs, features=features), again(**inputs, features=features)
    torch.testing.assert_close(found.hidden_states, expected.hidden_states, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.conditioning, expected.conditioning, atol=2e-5, rtol=1e-5)


def test_training_goes_on_from_saved_weights_and_depends_on_the_seed_only(tmp_path: Path) -> None:
    tiny_model().save_pretrained(tmp_path / "saved")
    config = tiny_config(language_model_source=str(tmp_path / "saved" / "language_model"))
    first, second = (M2UGenModel.for_training(config, seed=5).trained_state() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    resumed = M2UGenModel.for_training(config, init=tmp_path / "saved").trained_state()
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in tiny_model().trained_state().items())


def test_half_precision_files_are_half_the_size(tmp_path: Path) -> None:
    model = tiny_model()
    model.save_trained(tmp_path / "half")
    model.save_trained(tmp_path / "full", dtype=None)
    half, full = ((tmp_path / name / "bridge.safetensors").stat().st_size for name in ("half", "full"))
    assert half < 0.65 * full


def test_missing_and_unfitting_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights):
        tiny_model().load_trained(tmp_path)
    tiny_model().save_trained(tmp_path)
    other = tiny_model(adapter={"num_queries": 2})
    with pytest.raises(MissingWeights, match="does not fit"):
        other.load_trained(tmp_path)


def test_a_model_without_decoder_says_so() -> None:
    with pytest.raises(InputError, match="words only"):
        tiny_model(decoder=None).conditioning(torch.zeros(1, 8, 32))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="stage"):
        tiny_model().train_only("everything")
    with pytest.raises(InputError, match="nano-music"):
        load_component(tiny_config(music_encoder={"kind": "ears"}).music_encoder, Path())
