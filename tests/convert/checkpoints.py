"""Tiny checkpoints in the formats of others, made from our own model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from m2ugen.config import MODALITIES, M2UGenConfig
from m2ugen.convert.folder import export
from m2ugen.model.generation import Sampling, generate
from m2ugen.model.language_model import IGNORED
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.projector import OutputProjector
from tests.model.tiny import randomised

CASES = {"text": (), "music": ("music",), "image": ("image",), "video": ("video",), "all": MODALITIES}
SIZES = {
    "hidden_size": 48,
    "num_hidden_layers": 7,
    "num_attention_heads": 6,
    "num_key_value_heads": 6,
    "intermediate_size": 80,
    "rms_norm_eps": 1e-5,
    "rope_theta": 5000.0,
    "vocab_size": 85,
    "base_vocab_size": 77,
    "audio_token_ids": list(range(77, 85)),
    "lora_rank": 3,
    "layers_per_modality": 2,
    "num_queries": 1,
    "adapter_expansion": 2,
    "music_tokens": 4,
    "music_dim": 14,
    "image_tokens": 5,
    "video_tokens": 6,
    "vision_dim": 10,
    "projector_hidden_size": 16,
    "projector_num_heads": 2,
    "projector_layers": 2,
    "conditioning_shape": [5, 9],
    "audioldm2_output_dim": 30,
    "decoder_target_scale": 10,
}


def parity_config(sizes: dict[str, Any]) -> M2UGenConfig:
    """The configuration that a parity set's ``config.json`` describes."""
    encoders = {
        f"{name}_encoder": {
            "num_tokens": sizes[f"{name}_tokens"],
            "dim": sizes["music_dim" if name == "music" else "vision_dim"],
        }
        for name in MODALITIES
    }
    same = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "intermediate_size")
    return M2UGenConfig(
        **encoders,
        language_model={
            **{name: sizes[name] for name in (*same, "rms_norm_eps")},
            "vocab_size": sizes["base_vocab_size"],
            "rope_parameters": {"rope_type": "default", "rope_theta": sizes["rope_theta"]},
            "tie_word_embeddings": False,
        },
        adapter={"num_queries": sizes["num_queries"], "expansion": sizes["adapter_expansion"]},
        tuning={"layers_per_modality": sizes["layers_per_modality"], "lora_rank": sizes["lora_rank"]},
        projector={
            "hidden_size": sizes["projector_hidden_size"],
            "num_heads": sizes["projector_num_heads"],
            "num_layers": sizes["projector_layers"],
        },
        decoder={"conditioning_shape": sizes["conditioning_shape"], "target_scale": sizes["decoder_target_scale"]},
        audio_token_ids=sizes["audio_token_ids"],
        prompt_format="alpaca",
    )


def write_parity_set(folder: Path, sizes: dict[str, Any] = SIZES, seed: int = 13) -> None:
    """A set in the format of ``tests/data/parity`` with other sizes, whose expected outputs are this package's own.

    The seed is one whose greedy tokens win clearly: rounding, which differs between processors, must not choose them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the weights that the constructor draws
        model = randomised(M2UGenModel(parity_config(sizes)), seed)
    model.save_pretrained(folder / "model")
    export(folder / "model", folder / "checkpoint.pth")
    (folder / "config.json").write_text(json.dumps(sizes))
    projector = OutputProjector(
        sizes["hidden_size"],
        (1, sizes["audioldm2_output_dim"]),
        sizes["projector_hidden_size"],
        sizes["projector_num_heads"],
        sizes["projector_layers"],
    )
    other = {"queries": "query_embs", "transformer": "tfm", "output": "model"}
    named = {}
    for name, tensor in projector.state_dict().items():
        stem, dot, rest = name.partition(".")
        named[f"output_projector.{other.get(stem, stem)}{dot}{rest}"] = tensor
    save_file(named, folder / "projector_audioldm2.safetensors")
    golden = golden_tensors(model, sizes, seed)
    assert greedy_margin(model, golden) > 0.01
    with torch.no_grad():
        output = projector.eval()(golden["projector.hidden"], golden["projector.embeddings"])
    save_file({**golden, "projector_audioldm2.output": output}, folder / "golden.safetensors")


def golden_tensors(model: M2UGenModel, sizes: dict[str, Any], seed: int) -> dict[str, torch.Tensor]:
    """Inputs, drawn from ``seed``, and what ``model`` makes of them, by the names of a parity set."""
    random = torch.Generator().manual_seed(seed)
    words = sizes["base_vocab_size"]
    golden: dict[str, torch.Tensor] = {
        "input_ids": torch.randint(1, words, (2, 11), generator=random),
        "greedy.prompt": torch.randint(1, words, (1, 9), generator=random),
    }
    for name in MODALITIES:
        dim = sizes["music_dim" if name == "music" else "vision_dim"]
        golden[f"{name}_features"] = torch.randn(2, sizes[f"{name}_tokens"], dim, generator=random)
    language_model = model.language_model
    with torch.no_grad():
        for name in MODALITIES:
            golden[f"adapter.{name}"] = model.adapters[name](golden[f"{name}_features"])
        for case, heard in CASES.items():
            states = model.adapter_states({name: golden[f"{name}_features"] for name in heard})
            golden[f"hidden.{case}"] = language_model(golden["input_ids"], states)
            golden[f"logits.{case}"] = language_model.logits(golden[f"hidden.{case}"])
            first = model.adapter_states({name: golden[f"{name}_features"][:1] for name in heard})
            sampling = Sampling(max_new_tokens=24, audio="free")
            written = generate(language_model, golden["greedy.prompt"].tolist(), first, sampling)
            golden[f"greedy.{case}"] = torch.tensor(written.tokens[0])
        width = sizes["hidden_size"]
        golden["projector.hidden"] = torch.randn(2, 8, width, generator=random)
        golden["projector.embeddings"] = torch.randn(2, 8, width, generator=random)
        assert model.projector is not None
        golden["projector.output"] = model.projector(golden["projector.hidden"], golden["projector.embeddings"])
    audio = torch.tensor([sizes["audio_token_ids"]])
    ids = torch.cat([torch.randint(1, words, (1, 10), generator=random), audio], dim=1)
    golden["train.input_ids"] = ids
    golden["train.labels"] = torch.cat([torch.zeros(1, 5, dtype=torch.long), ids[:, 5:]], dim=1)
    shape = sizes["conditioning_shape"]
    golden["train.decoder_text_states"] = torch.randn(1, *shape, generator=random)
    model.train_only("instruct")
    output = model(
        ids,
        labels=golden["train.labels"].masked_fill(golden["train.labels"] == 0, IGNORED),
        features={"music": golden["music_features"][:1]},
        targets=golden["train.decoder_text_states"],
    )
    golden["train.cross_entropy"] = output.cross_entropy.detach()[None]
    golden["train.mse"] = output.conditioning_error.detach()[None]
    output.loss.backward()
    golden["train.grad.prefix_query.weight"] = model.language_model.prefix_query.weight.grad.clone()
    model.requires_grad_(False)
    return {name: tensor.clone().contiguous() for name, tensor in golden.items()}


def greedy_margin(model: M2UGenModel, golden: dict[str, torch.Tensor]) -> float:
    """The least distance between the two largest logits at any greedy token of the set."""
    prompt = golden["greedy.prompt"]
    margins = []
    for case, heard in CASES.items():
        ids = torch.cat([prompt, golden[f"greedy.{case}"][None]], dim=1)
        with torch.no_grad():
            states = model.adapter_states({name: golden[f"{name}_features"][:1] for name in heard})
            logits = model.language_model.logits(model.language_model(ids, states))[0]
        first, second = logits[prompt.shape[1] - 1 : -1].topk(2).values.unbind(dim=1)
        margins.append(float((first - second).min()))
    return min(margins)


def write_meta_llama(
    folder: Path, parts: int, layers: int = 2, width: int = 32, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Meta's LLaMA folder split among ``parts`` files, grouped key and value heads; returns the whole tensors."""
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    heads, kv_heads, inner, vocabulary = 4, 2, 24 * parts, 40
    shapes = {
        "tok_embeddings.weight": (vocabulary, width),
        "norm.weight": (width,),
        "output.weight": (vocabulary, width),
    }
    for k in range(layers):
        kv_width = width // heads * kv_heads
        shapes |= {
            f"layers.{k}.attention.wq.weight": (width, width),
            f"layers.{k}.attention.wk.weight": (kv_width, width),
            f"layers.{k}.attention.wv.weight": (kv_width, width),
            f"layers.{k}.attention.wo.weight": (width, width),
            f"layers.{k}.feed_forward.w1.weight": (inner, width),
            f"layers.{k}.feed_forward.w2.weight": (width, inner),
            f"layers.{k}.feed_forward.w3.weight": (inner, width),
            f"layers.{k}.attention_norm.weight": (width,),
            f"layers.{k}.ffn_norm.weight": (width,),
        }
    whole = {name: 0.3 * torch.randn(shape, generator=random) for name, shape in shapes.items()}
    columns = ("tok_embeddings", "wo", "w2")  # what the row-parallel layers split
    for part in range(parts):
        state = {"rope.freqs": torch.ones(width // heads // 2)}
        for name, tensor in whole.items():
            if tensor.ndim == 1:
                state[name] = tensor
            else:
                axis = 1 if name.split(".")[-2] in columns else 0
                state[name] = tensor.chunk(parts, dim=axis)[part].clone()
        torch.save(state, folder / f"consolidated.{part:02d}.pth")
    params = {"dim": width, "n_layers": layers, "n_heads": heads, "n_kv_heads": kv_heads, "norm_eps": 1e-5}
    (folder / "params.json").write_text(json.dumps({**params, "multiple_of": 8, "vocab_size": -1}))
    return whole


def write_tokenizer_model(folder: Path, vocab_size: int = 330) -> Path:
    """A SentencePiece model as LLaMA's: BPE with bytes, ``<unk>``, ``<s>``, ``</s>`` first."""
    import sentencepiece

    folder.mkdir(parents=True, exist_ok=True)
    text = folder / "text.txt"
    lines = ["the calm piano plays a slow song in C major", "### Instruction: drums and bass are loud", "a response"]
    text.write_text("\n".join(lines * 20))
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=vocab_size,
        model_type="bpe",
        byte_fallback=True,
        character_coverage=1.0,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        minloglevel=2,
    )
    text.unlink()
    (folder / "tokenizer.vocab").unlink()
    return folder / "tokenizer.model"
