"""A model of the paper's full size on one machine: can it answer and play, in how much memory and time?

    .venv/bin/python benchmarks/seven_billion.py [--json] [--folder DIR] [--seconds 2] [--words 24]

Writes a model with the shapes of LLaMA 2 7B, its adapters and projector, ViT-B/16 and MusicGen small, with random
weights in the published types (17 GB on disk, removed at the end), loads it as a user would (8-bit matrices on a CPU),
asks it about a picture and lets it play. What it says and plays is noise; what is shown is that it runs.
``load_peak_gb`` and ``peak_gb`` are the process's largest resident size after loading and at the end.
"""

from __future__ import annotations

import argparse
import json
import string
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from musicgen import published_shape

from m2ugen.config import M2UGenConfig
from m2ugen.convert.writer import Entry, write_safetensors, write_shards
from m2ugen.examples import example
from m2ugen.model.modeling import BRIDGE, LLAMA_FOLDER, M2UGenModel
from m2ugen.pipeline import M2UGen

GB = 1e9
TYPE = torch.bfloat16
T5_BASE = {"d_ff": 3072, "num_layers": 12, "num_heads": 12}


def random_entry(name: str, shape: torch.Size, dtype: torch.dtype) -> Entry:
    """Numbers that are drawn when they are written: norms around one, matrices small."""

    def read() -> torch.Tensor:
        if len(shape) == 1:
            return torch.ones(shape, dtype=dtype) if "norm" in name else torch.zeros(shape, dtype=dtype)
        return torch.empty(shape, dtype=dtype).normal_(std=0.02)

    return Entry(name, tuple(shape), dtype, read)


def write_model(folder: Path) -> int:
    """A folder as ``m2ugen convert`` writes it, with two frozen parts inside; returns the language model's number of
    parameters.
    """
    from transformers import LlamaForCausalLM, ViTConfig, ViTModel

    config = M2UGenConfig.from_preset("musicgen-small")
    assert config.image_encoder is not None and config.decoder is not None
    config.music_encoder = config.video_encoder = config.language_model_source = None
    config.image_encoder.source, config.decoder.source = "vit", "musicgen"
    with torch.device("meta"):
        llama = LlamaForCausalLM(config.language_model)
        bridge = M2UGenModel(config).trained_state()
    inner = folder / LLAMA_FOLDER
    inner.mkdir(parents=True)
    write_shards(inner, [random_entry(name, tensor.shape, TYPE) for name, tensor in llama.state_dict().items()])
    config.language_model.architectures, config.language_model.dtype = ["LlamaForCausalLM"], TYPE
    config.language_model.save_pretrained(inner)
    letters_tokenizer().save_pretrained(inner)
    write_safetensors(folder / BRIDGE, [random_entry(name, tensor.shape, TYPE) for name, tensor in bridge.items()])
    config.save_pretrained(folder)
    ViTModel(ViTConfig()).save_pretrained(folder / "vit")
    published_shape(T5_BASE).save_pretrained(folder / "musicgen")
    letters_tokenizer().save_pretrained(folder / "musicgen")
    return sum(parameter.numel() for parameter in llama.parameters())


def letters_tokenizer() -> Any:
    """A tokenizer that knows single characters: random weights have no use for words."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: k for k, token in enumerate(["<unk>", "<s>", "</s>", *string.printable])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )


def peak() -> float:
    """The process's largest resident size, in GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024 / GB
    return float("nan")


def measure(folder: Path, seconds: float, words: int) -> dict[str, Any]:
    """All figures as one JSON value."""
    report: dict[str, Any] = {}
    start = time.perf_counter()
    model = M2UGen.from_pretrained(folder)
    report["load_seconds"], report["load_peak_gb"] = time.perf_counter() - start, peak()
    start = time.perf_counter()
    picture = example("bright")
    reply = model.ask("What is this?", image=picture, max_new_tokens=words)
    report["ask_seconds"], report["answer_characters"] = time.perf_counter() - start, len(reply.text)
    start = time.perf_counter()
    made = model.generate("a calm piano piece", image=picture, duration=seconds, seed=0)
    assert made.audio is not None
    report["generate_seconds"], report["samples"] = time.perf_counter() - start, made.audio.shape[-1]
    return {**report, "peak_gb": peak()}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of music")
    parser.add_argument("--words", type=int, default=24, help="tokens of the answer")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        count = write_model(Path(folder) / "model")
        report = {"language_model_parameters": count} | measure(
            Path(folder) / "model", arguments.seconds, arguments.words
        )
    report = {name: round(value, 2) if isinstance(value, float) else value for name, value in report.items()}
    print(json.dumps(report) if arguments.json else "\n".join(f"{name}: {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
