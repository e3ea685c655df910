"""4-bit matrices: which weights get them, that they are found again as they were, and what LoRA does beside them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from m2ugen.model.generation import Sampling, generate
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.quantize import GROUP, Form, Int4Linear, Int8Linear, rounded_type
from tests.model.tiny import VOCABULARY, tiny_features, tiny_model

LLAMA = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}


def q4_weights(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    """Weights [rows, columns] as GGUF's Q4_1 holds them: 0-15 times a step plus an offset, in half precision."""
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 16, (rows, columns // GROUP, GROUP), generator=generator)
    codes[..., 0], codes[..., 1] = 0, 15  # both ends occur, for they define step and offset
    step, offset = (torch.rand(rows, columns // GROUP, 1, generator=generator).half() for _ in range(2))
    return (codes * step.float() - offset.float() * 8).half().flatten(1)


def as_q4(model: M2UGenModel) -> M2UGenModel:
    """``model`` with 4-bit numbers in its language model's frozen matrices."""
    for name, parameter in model.language_model.llama.named_parameters():
        if name.endswith(("_proj.weight", "base.weight")):
            weights = q4_weights(*parameter.shape, seed=len(name)).float()
            parameter.data = (weights - weights.mean()) / weights.std() / parameter.shape[1] ** 0.5
    return model


@torch.no_grad()
def test_4_bit_weights_are_found_again() -> None:
    weight = q4_weights(64, 96)
    bias = torch.randn(64, generator=torch.Generator().manual_seed(1))
    layer = Int4Linear.from_weight(weight, bias)
    found = layer(torch.eye(96)) - bias  # [in, out]; bfloat16 keeps 8 bits of scales and products
    torch.testing.assert_close(found.T, weight.float(), atol=0.04, rtol=0.01)
    states = torch.randn(2, 5, 96, generator=torch.Generator().manual_seed(2))
    expected = torch.nn.functional.linear(states, weight.float(), bias)
    assert (layer(states) - expected).norm() / expected.norm() < 0.01


@torch.no_grad()
def test_rows_alone_are_as_together() -> None:
    layer = Int4Linear.from_weight(q4_weights(64, 64), None)
    states = torch.randn(7, 64, generator=torch.Generator().manual_seed(0))
    assert all(torch.equal(layer(states[k : k + 1])[0], row) for k, row in enumerate(layer(states)))


@pytest.mark.parametrize(
    ("machine", "form", "expected"),
    [("AVX512", "auto", Int4Linear), ("DEFAULT", "auto", Int8Linear), ("DEFAULT", "int4", Int4Linear),
     ("AVX512", "int8", Int8Linear)],
)  # fmt: skip
def test_what_has_4_bits_keeps_4(machine: str, form: Form, expected: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: machine)
    assert rounded_type(q4_weights(64, 96), form) is expected


def test_what_has_more_bits_keeps_8(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    weight = q4_weights(64, 96)
    assert rounded_type(weight, "auto") is Int4Linear
    weight[5, 40] += (weight[5, 32:64].max() - weight[5, 32:64].min()) / 31  # half a step
    assert rounded_type(weight, "auto") is Int8Linear
    assert rounded_type(q4_weights(64, 96)[:40], "auto") is Int8Linear  # rows that the kernel's blocks do not divide


@torch.no_grad()
def test_lora_works_beside_4_bits(tmp_path: Path) -> None:
    model = as_q4(tiny_model(language_model=LLAMA))
    model.save_pretrained(tmp_path / "model")
    ids, features = torch.arange(9)[None], tiny_features(1)
    expected = model.language_model(ids, model.adapter_states(features))
    rounded = M2UGenModel.from_pretrained(tmp_path / "model", quantise="int4")
    kinds = [type(module) for module in rounded.language_model.modules()]
    assert kinds.count(Int4Linear) == 8 * 7 and kinds.count(Int8Linear) == 1  # all but the head
    found = rounded.language_model(ids, rounded.adapter_states(features))
    error = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    assert error.max() < 0.05
    without = tiny_model(language_model=LLAMA)
    without.load_state_dict(model.state_dict())
    for name, parameter in without.named_parameters():
        if "lora_up" in name:
            parameter.zero_()
    other = without.language_model(ids, without.adapter_states(features))
    assert (other - expected).norm() > 5 * (found - expected).norm()

    again = M2UGenModel.from_pretrained(tmp_path / "model", quantise="int4")  # this time from the cache
    assert torch.equal(again.language_model(ids, again.adapter_states(features)), found)
    with pytest.raises(ValueError, match="rounded"):
        rounded.language_model.save_llama(tmp_path / "other")


@torch.no_grad()
@pytest.mark.parametrize(("form", "joined"), [("int4", False), ("int4", True), ("int8", False)])
def test_steps_equal_the_whole(form: Form, joined: bool) -> None:
    """What the decoder of single steps writes is what the layers as a whole find likeliest."""
    shape = {"num_key_value_heads": 4, "intermediate_size": 128} if joined else {}
    model = as_q4(tiny_model(language_model={**LLAMA, **shape}))
    model.language_model.quantize_for_cpu(form)
    threads = torch.get_num_threads()
    states, prompts = model.adapter_states(tiny_features(1)), [[3, 1, 4, 1, 5], [9, 2, 6]]
    sampling = Sampling(max_new_tokens=12, audio="never")
    for prompt in prompts:
        written = generate(model.language_model, [prompt], states, sampling).tokens[0]
        ids = torch.tensor([prompt + written])
        logits = model.language_model.logits(model.language_model(ids, states))[0, len(prompt) - 1 : -1, :VOCABULARY]
        chosen = logits.gather(-1, torch.tensor(written)[:, None])[:, 0]
        assert (logits.amax(dim=-1) - chosen).max() < 0.02 * logits.std()
    made = [layer for layer in model.language_model.joined.values() if layer is not None]
    assert len(made) == (2 * 8 if joined else 0) and torch.get_num_threads() == threads
    if joined:  # a layer's numbers are part of the whole's, not a copy
        up = model.language_model.layers[0].get_submodule("mlp.up_proj")
        assert up.packed.untyped_storage().data_ptr() == made[1].packed.untyped_storage().data_ptr()
