"""Checkpoints of others become folders that load, every tensor accounted for, and go back unchanged."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import LlamaForCausalLM

from m2ugen.cli.app import run_arguments
from m2ugen.config import M2UGenConfig
from m2ugen.convert.folder import Mismatch, convert, export
from m2ugen.convert.names import halves_from_pairs, pairs_from_halves
from m2ugen.convert.writer import Entry, write_shards
from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.prompting import AUDIO_TOKENS
from tests.convert.checkpoints import SIZES, parity_config, write_meta_llama, write_tokenizer_model
from tests.model.tiny import randomised

CLOSE = {"atol": 2e-5, "rtol": 1e-4}


@pytest.fixture(scope="module")
def model() -> M2UGenModel:
    return randomised(M2UGenModel(parity_config(SIZES)))


@pytest.fixture(scope="module")
def checkpoint(model: M2UGenModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published checkpoint without anything beside it."""
    folder = tmp_path_factory.mktemp("published")
    model.save_pretrained(folder / "model")
    (folder / "alone").mkdir()
    export(folder / "model", folder / "alone" / "weights.pth")
    return folder / "alone" / "weights.pth"


def published_state(path: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["model"]
    return state


def test_there_and_back_changes_nothing(model: M2UGenModel, checkpoint: Path, tmp_path: Path) -> None:
    report = convert(checkpoint, tmp_path / "model")
    assert not report.added
    assert report.unused == ["llama.layers.0.attention.gate"]
    converted = M2UGenConfig.from_pretrained(tmp_path / "model")
    bridge = load_file(tmp_path / "model" / "bridge.safetensors")
    trained = model.trained_state()
    assert bridge.keys() == trained.keys()
    assert all(torch.equal(bridge[name], trained[name]) for name in bridge)
    assert converted.prompt_format == "alpaca"
    export(tmp_path / "model", tmp_path / "again.pth")
    before, after = published_state(checkpoint), published_state(tmp_path / "again.pth")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_sizes_that_tensors_do_not_tell_come_from_a_file(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "sizes.yaml").write_text("projector_num_heads: 2\nrope_theta: 5000.0\n")
    convert(checkpoint, tmp_path / "model", config=tmp_path / "sizes.yaml")
    config = M2UGenConfig.from_pretrained(tmp_path / "model")
    assert config.projector.num_heads == 2
    assert config.language_model.rope_parameters["rope_theta"] == 5000.0
    whole = parity_config(SIZES)
    whole.save_pretrained(tmp_path / "whole")
    convert(checkpoint, tmp_path / "same", config=tmp_path / "whole" / "config.json")
    assert M2UGenConfig.from_pretrained(tmp_path / "same").tuning.lora_rank == SIZES["lora_rank"]
    with pytest.raises(InputError, match="sizes of the preset"):
        convert(checkpoint, tmp_path / "other", preset="musicgen")


@pytest.mark.parametrize("name", ["llama.layers.3.attention.wk.weight", "mu_mert_f2_1.weight", "prefix_query.weight"])
def test_a_missing_tensor_is_named_and_nothing_is_written(name: str, checkpoint: Path, tmp_path: Path) -> None:
    state = published_state(checkpoint)
    del state[name]
    torch.save({"model": state}, tmp_path / "part.pth")
    with pytest.raises(InputError) as caught:
        convert(tmp_path / "part.pth", tmp_path / "model")
    if isinstance(caught.value, Mismatch):
        assert len(caught.value.missing) == 1
        assert caught.value.missing[0] in caught.value.lines()[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part.pth"]


def test_left_over_and_unfit_tensors_are_named(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = published_state(checkpoint)
    state["llama.layers.2.attention.extra.weight"] = torch.zeros(1)
    torch.save({"model": state}, tmp_path / "more.pth")
    assert run_arguments(["convert", str(tmp_path / "more.pth"), str(tmp_path / "model")]) == 2
    assert "left over: llama.layers.2.attention.extra.weight" in capsys.readouterr().err
    del state["llama.layers.2.attention.extra.weight"]
    state["iu_vit_norm_2.weight"] = torch.ones(3)
    state["mu_mert_norm_1.bias"] = torch.ones(3)
    torch.save({"model": state}, tmp_path / "unfit.pth")
    with pytest.raises(Mismatch) as caught:
        convert(tmp_path / "unfit.pth", tmp_path / "model")
    assert caught.value.unfit == ["adapters.image.blocks.1.norm.weight"]
    assert caught.value.left_over == ["mu_mert_norm_1.bias"]
    assert not (tmp_path / "model").exists()


def test_frozen_parts_and_training_state_are_left_out(checkpoint: Path, tmp_path: Path) -> None:
    state = {f"module.{name}": tensor for name, tensor in published_state(checkpoint).items()}
    state["module.vit_model.pooler.weight"] = state["module.vit_model.pooler.bias"] = torch.zeros(2)
    options = argparse.Namespace(music_decoder="musicgen", epochs=2)
    torch.save({"model": state, "args": options, "epoch": 1, "optimizer": {"state": {}}}, tmp_path / "training.pth")
    report = convert(tmp_path / "training.pth", tmp_path / "model")
    assert report.frozen == {"vit_model.": 2}


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must never run",)


def test_a_pickle_with_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"model": {"a": Malicious()}}, tmp_path / "bad.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    for name in ("bad.pth", "text.pth", "absent.pth"):
        with pytest.raises(InputError):
            convert(tmp_path / name, tmp_path / "model")
    assert "never run" not in capsys.readouterr().out


def test_half_precision_is_for_matrices(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model", dtype="bf16")
    tensors = load_file(tmp_path / "model" / "bridge.safetensors")
    assert all((tensor.dtype == torch.bfloat16) == (tensor.ndim > 1) for tensor in tensors.values())
    config = json.loads((tmp_path / "model" / "language_model" / "config.json").read_text())
    assert config["dtype"] == "bfloat16"
    assert M2UGenModel.from_pretrained(tmp_path / "model").language_model.llama.dtype == torch.float32
    state = published_state(checkpoint)
    state["llama.output.weight"] = state["llama.output.weight"] + 1e6
    torch.save({"model": state}, tmp_path / "large.pth")
    with pytest.raises(InputError, match="too large"):
        convert(tmp_path / "large.pth", tmp_path / "half", dtype="fp16")
    assert not (tmp_path / "half").exists()


def test_only_models_are_replaced_and_only_on_request(checkpoint: Path, tmp_path: Path) -> None:
    convert(checkpoint, tmp_path / "model")
    with pytest.raises(InputError, match="--force"):
        convert(checkpoint, tmp_path / "model")
    convert(checkpoint, tmp_path / "model", force=True)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("…")
    with pytest.raises(InputError, match="not a model"):
        convert(checkpoint, tmp_path / "letters", force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["letters", "model"]


def test_shards_have_an_index_and_load_as_one(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.arange(3, dtype=torch.int8), "c": torch.ones(4, 4).half()}
    entries = [Entry(name, tuple(t.shape), t.dtype, lambda t=t: t) for name, t in tensors.items()]
    write_shards(tmp_path, entries, shard_bytes=30)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 24 + 3 + 32
    assert len(set(index["weight_map"].values())) == 2
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], tensors[name])


# -- Meta's LLaMA ------------------------------------------------------------------------------------------------


def meta_logits(weights: dict[str, torch.Tensor], ids: torch.Tensor, heads: int = 4, kv_heads: int = 2) -> torch.Tensor:
    """Logits [length, vocabulary] by the definition: neighbouring pairs are rotated as complex numbers."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * weights[name]

    x = weights["tok_embeddings.weight"][ids]
    length, width = x.shape
    dim = width // heads
    angles = torch.outer(torch.arange(length).float(), 10000.0 ** (-torch.arange(0, dim, 2).float() / dim))
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # [length, 1, dim / 2]
    hidden = torch.full((length, length), -math.inf).triu(1)
    for k in range(sum(name.endswith("wq.weight") for name in weights)):
        p = f"layers.{k}."
        n = norm(x, f"{p}attention_norm.weight")
        q, key, value = (
            (n @ weights[f"{p}attention.{w}.weight"].T).unflatten(-1, (count, dim))
            for w, count in (("wq", heads), ("wk", kv_heads), ("wv", kv_heads))
        )
        q, key = (
            torch.view_as_real(torch.view_as_complex(t.unflatten(-1, (-1, 2)).contiguous()) * turns).flatten(-2)
            for t in (q, key)
        )
        key, value = (t.repeat_interleave(heads // kv_heads, dim=1) for t in (key, value))
        scores = torch.einsum("ihd,jhd->hij", q, key) / math.sqrt(dim) + hidden
        heard = torch.einsum("hij,jhd->ihd", scores.softmax(-1), value).flatten(1)
        x = x + heard @ weights[f"{p}attention.wo.weight"].T
        n = norm(x, f"{p}ffn_norm.weight")
        gate, up = (n @ weights[f"{p}feed_forward.{w}.weight"].T for w in ("w1", "w3"))
        x = x + (F.silu(gate) * up) @ weights[f"{p}feed_forward.w2.weight"].T
    return norm(x, "norm.weight") @ weights["output.weight"].T


@pytest.mark.parametrize("parts", [1, 2])
def test_metas_llama_becomes_a_hugging_face_one(parts: int, tmp_path: Path) -> None:
    weights = write_meta_llama(tmp_path / "meta" / "7B", parts)
    write_tokenizer_model(tmp_path / "meta")
    report = convert(tmp_path / "meta" / "7B", tmp_path / "llama")
    assert report.tokenizer
    llama = LlamaForCausalLM.from_pretrained(tmp_path / "llama")
    ids = torch.tensor([3, 17, 5, 5, 30, 8, 1])
    with torch.no_grad():
        torch.testing.assert_close(llama(ids[None]).logits[0], meta_logits(weights, ids), **CLOSE)


def test_parts_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    write_meta_llama(tmp_path / "meta", 2)
    torch.save({"norm.weight": torch.ones(3)}, tmp_path / "meta" / "consolidated.01.pth")
    with pytest.raises(InputError, match="belong together"):
        convert(tmp_path / "meta", tmp_path / "llama")
    (tmp_path / "meta" / "params.json").unlink()
    with pytest.raises(InputError):
        convert(tmp_path / "meta", tmp_path / "llama")


def test_the_two_rotary_orders_are_inverse() -> None:
    rows = torch.arange(24.0).view(12, 2)
    assert torch.equal(pairs_from_halves(halves_from_pairs(rows, 2), 2), rows)
    assert halves_from_pairs(torch.arange(6), 1).tolist() == [0, 2, 4, 1, 3, 5]


# -- MU-LLaMA ----------------------------------------------------------------------------------------------------


def mullama_config() -> M2UGenConfig:
    """The sizes of ``write_meta_llama`` with four layers, music only, the last three layers adapted."""
    return M2UGenConfig(
        music_encoder={"num_tokens": 5, "dim": 12},
        language_model={
            "vocab_size": 40,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": False,
        },
        adapter={"expansion": 4},
        tuning={"layers_per_modality": 3, "lora_rank": 2},
        prompt_format="alpaca-input",
    )


@pytest.fixture(scope="module")
def mullama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mullama")
    randomised(M2UGenModel(mullama_config())).save_pretrained(folder / "model")
    export(folder / "model", folder / "checkpoint.pth")
    return folder


@torch.no_grad()
def test_mullama_converts_and_answers_in_words(mullama: Path, tmp_path: Path) -> None:
    torch.save({"model": published_state(mullama / "checkpoint.pth")}, tmp_path / "checkpoint.pth")
    report = convert(tmp_path / "checkpoint.pth", tmp_path / "model")
    assert len(report.added) == 2  # the [AUD] tokens, which MU-LLaMA does not have
    found, expected = (M2UGenModel.from_pretrained(path) for path in (tmp_path / "model", mullama / "model"))
    assert found.config.modalities == ("music",)
    assert found.config.prompt_format == "alpaca-input"
    assert found.config.adapter.expansion == 4
    assert found.decoder is None
    ids, features = torch.arange(9)[None], {"music": torch.ones(1, 5, 12)}
    logits = [
        model.language_model.logits(model.language_model(ids, model.adapter_states(features)))[..., :40]
        for model in (found, expected)
    ]
    torch.testing.assert_close(*logits)


@torch.no_grad()
@pytest.mark.parametrize("form", ["meta", "hugging face"])
def test_a_checkpoint_of_trained_tensors_needs_the_language_model(form: str, mullama: Path, tmp_path: Path) -> None:
    base = tmp_path / "llama"
    write_meta_llama(base, 2, layers=4)
    if form == "hugging face":
        convert(base, tmp_path / "hf")
        base = tmp_path / "hf"
    state = published_state(mullama / "checkpoint.pth")
    kept = ("mu_mert", "prefix", "gate", "lora", "bias", "norm")
    part = {name: tensor for name, tensor in state.items() if any(word in name for word in kept)}
    torch.save({"model": part}, tmp_path / "part.pth")
    with pytest.raises(InputError, match="--language-model"):
        convert(tmp_path / "part.pth", tmp_path / "model")
    convert(tmp_path / "part.pth", tmp_path / "model", language_model=base)
    found = load_file(tmp_path / "model" / "language_model" / "model.safetensors")
    expected = torch.load(tmp_path / "llama" / "consolidated.00.pth", weights_only=True)["layers.1.attention.wq.weight"]
    rows = halves_from_pairs(expected, 2)  # the first of two files holds two of four heads
    assert torch.equal(found["model.layers.1.self_attn.q_proj.weight"][:16], rows)
    M2UGenModel.from_pretrained(tmp_path / "model")


def test_a_pretrained_mullama_has_no_lora(mullama: Path, tmp_path: Path) -> None:
    state = published_state(mullama / "checkpoint.pth")
    part = {name: tensor for name, tensor in state.items() if "lora" not in name and "wq.bias" not in name}
    part = {name: tensor for name, tensor in part.items() if "llama" not in name or not name.endswith("bias")}
    torch.save({"model": part}, tmp_path / "pretrained.pth")
    convert(tmp_path / "pretrained.pth", tmp_path / "model")
    model = M2UGenModel.from_pretrained(tmp_path / "model")
    assert model.config.num_tuned_layers == 0
    with pytest.raises(InputError, match="every layer tuned"):
        export(tmp_path / "model", tmp_path / "back.pth")


# -- tokenizers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["exact", "padded", "with a padding token of its own"])
def test_audio_tokens_follow_the_vocabulary(case: str, tmp_path: Path) -> None:
    from transformers import LlamaTokenizer

    from m2ugen.weights.tokenizer import add_audio_tokens, load_tokenizer

    write_tokenizer_model(tmp_path)
    size = 330 + 14 * (case == "padded")
    folder = tmp_path
    if case.startswith("with"):
        padded = LlamaTokenizer.from_pretrained(tmp_path)
        padded.add_special_tokens({"pad_token": "<pad>"})
        padded.save_pretrained(tmp_path / "padded")
        folder = tmp_path / "padded"
    tokenizer = add_audio_tokens(load_tokenizer(folder), size, AUDIO_TOKENS)
    assert tokenizer.convert_tokens_to_ids(list(AUDIO_TOKENS)) == list(range(size, size + 8))
    text = "### Instruction:\nthe calm piano é\n\n### Response:"
    from sentencepiece import SentencePieceProcessor

    expected = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model")).encode(text)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == expected
    tokenizer.save_pretrained(tmp_path / "saved")
    again = add_audio_tokens(load_tokenizer(tmp_path / "saved"), size, AUDIO_TOKENS)
    assert again("hi[AUD0][AUD7]", add_special_tokens=False)["input_ids"][-2:] == [size, size + 7]
    assert (again.bos_token_id, again.eos_token_id) == (1, 2)


def test_no_tokenizer_is_said(tmp_path: Path) -> None:
    from m2ugen.weights.tokenizer import load_tokenizer

    with pytest.raises(MissingWeights):
        load_tokenizer(tmp_path)


# -- the command -------------------------------------------------------------------------------------------------


def test_the_command_there_and_back(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tokenizer_model(tmp_path / "tokens")
    arguments = ["convert", str(checkpoint), str(tmp_path / "model"), "--dtype", "fp32", "--json"]
    assert run_arguments([*arguments, "--language-model", str(tmp_path / "tokens")]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["tokenizer"] is True
    assert run_arguments(["convert", str(tmp_path / "model"), str(tmp_path / "back.pth"), "--to", "published"]) == 0
    assert published_state(tmp_path / "back.pth").keys() == published_state(checkpoint).keys()
    assert run_arguments(["convert", str(checkpoint)]) == 2
    assert run_arguments(["convert", str(checkpoint), str(tmp_path / "x"), "--dtype", "int3"]) == 2
    assert run_arguments(["convert", str(checkpoint), str(tmp_path / "x"), "--to", "elsewhere"]) == 2
