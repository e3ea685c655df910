"""How fast MusicGen's codes are drawn, beside transformers' own generation of the same model.

    .venv/bin/python benchmarks/musicgen.py [--json] [--seconds 10] [--repeats 3] [--threads 2] [--bf16]

A model of musicgen-small's shape with random weights (decoder and EnCodec; the text encoder is a stub, and is not
measured) makes music by greedy choice with guidance 3, so that all variants do the same work. The variants take turns;
seconds are medians. ``transformers_ratio`` is transformers' time by ours in float32, ``int8_ratio`` transformers' (in
float32) by ours with 8-bit weights; ``equal_codes`` is the share of float32 codes that are transformers' own.
``bandwidth_bound`` is how many frames a second the memory could feed with weights, ``bandwidth_ratio`` how much of that
is reached. Fifty frames are a second of music.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

GUIDANCE = 3.0
TOKENS = 16  # of text
STUB = {"vocab_size": 32, "d_kv": 8, "d_ff": 8, "num_layers": 1, "num_heads": 1}


def published_shape(text_encoder: dict[str, int] | None = None) -> Any:
    """transformers' model in the sizes of facebook/musicgen-small, with random weights; ``text_encoder`` are T5's sizes
    (None: a stub).
    """
    from transformers import EncodecConfig, MusicgenConfig, MusicgenDecoderConfig, T5Config
    from transformers import MusicgenForConditionalGeneration as Model

    audio = EncodecConfig(
        sampling_rate=32_000,
        target_bandwidths=[2.2],
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=2048,
        codebook_dim=128,
        num_filters=64,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    text = T5Config(d_model=768, **(text_encoder or STUB))
    model = Model(MusicgenConfig(text_encoder=text, audio_encoder=audio, decoder=MusicgenDecoderConfig()))
    for parameter in model.decoder.parameters():  # larger than a new model's, so that its choices are no ties
        parameter.data.mul_(2)
    for name in ("decoder_start_token_id", "pad_token_id", "bos_token_id"):
        setattr(model.generation_config, name, 2048)
    return model.eval().requires_grad_(False)


def ours(model: Any, **options: Any) -> Any:
    """Our decoder with the weights of transformers' model, which is left as it is."""
    from m2ugen.model.decoders.musicgen import MusicGenDecoder

    with torch.device("meta"):
        shell = type(model)(model.config)
    shell.audio_encoder = type(model.audio_encoder)(model.config.audio_encoder)  # has buffers that no state dict holds
    shell.load_state_dict(model.state_dict(), assign=True)
    return MusicGenDecoder(shell, **options).eval()


def weight_bytes(decoder: Any) -> int:
    """Bytes of the matrices that every step reads."""
    from m2ugen.model.decoders.musicgen.linear import FewRowsLinear

    return sum(
        module.weight.nbytes
        for name, module in decoder.transformer.named_modules()
        if isinstance(module, FewRowsLinear) and not name.endswith("cross_key_value")
    )


def bandwidth() -> float:
    """Bytes a second that this machine reads from memory."""
    block = torch.ones(2**26)  # 256 MB, more than any cache
    best = math.inf
    for _ in range(5):
        start = time.perf_counter()
        block.sum()
        best = min(best, time.perf_counter() - start)
    return block.nbytes / best


def measure(seconds: float, repeats: int, with_bfloat16: bool) -> dict[str, Any]:
    """All figures as one JSON value."""
    from m2ugen.model.decoders.musicgen.sampling import CodeSampling

    torch.manual_seed(0)
    model = published_shape()
    tokens = torch.arange(TOKENS)[None]
    states = model.text_encoder(tokens).last_hidden_state
    frames = round(50 * seconds)
    sampling = CodeSampling(GUIDANCE, temperature=0.0)
    decoders = {"float32": ours(model), "int8": ours(model, int8=True)}
    if with_bfloat16:
        decoders["bfloat16"] = ours(model)
        decoders["bfloat16"].transformer.to(torch.bfloat16)
    codes: dict[str, torch.Tensor] = {}

    def run_ours(name: str, count: int) -> None:
        codes[name] = decoders[name].generate_codes(states, count, sampling, [0])
        decoders[name].decode_codes(codes[name])

    def run_theirs(name: str, count: int) -> None:
        decode = model.audio_encoder.decode

        def watched(audio_codes: torch.Tensor, **options: Any) -> Any:
            codes[name] = audio_codes[0]
            return decode(audio_codes, **options)

        model.audio_encoder.decode = watched
        model.generate(
            input_ids=tokens,
            attention_mask=torch.ones_like(tokens),
            do_sample=False,
            guidance_scale=GUIDANCE,
            max_new_tokens=count + 3,
        )
        del model.audio_encoder.decode

    runs: dict[str, Callable[[str, int], None]] = dict.fromkeys(decoders, run_ours)
    runs["transformers"] = run_theirs
    for name, run in runs.items():
        run(name, 4)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run(name, frames)
            times[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in times.items()}
    start = time.perf_counter()
    decoders["float32"].decode_codes(codes["float32"])
    codec = time.perf_counter() - start
    speed = bandwidth()
    report: dict[str, Any] = {
        "machine": {
            "processor": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
        },
        "seconds_of_music": seconds,
        "seconds": {name: round(value, 3) for name, value in medians.items()},
        "encodec_seconds": round(codec, 3),
        "memory_gb_per_second": round(speed / 1e9, 2),
        "equal_codes": round((codes["float32"] == codes["transformers"]).float().mean().item(), 4),
        "transformers_ratio": round(medians["transformers"] / medians["float32"], 2),
        "int8_ratio": round(medians["transformers"] / medians["int8"], 2),
    }
    if with_bfloat16:
        report["bfloat16_ratio"] = round(medians["transformers"] / medians["bfloat16"], 2)
    bounds = {name: speed / weight_bytes(decoder) for name, decoder in decoders.items()}
    report["bandwidth_bound"] = {name: round(bound, 2) for name, bound in bounds.items()}
    report["bandwidth_ratio"] = {
        name: round((frames + 3) / max(medians[name] - codec, 1e-9) / bound, 2) for name, bound in bounds.items()
    }
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    music = report["seconds_of_music"]
    lines = ["| | seconds | × real time | × transformers | of the memory's bound |", "|---|---|---|---|---|"]
    for name, seconds in report["seconds"].items():
        ratio = report["seconds"]["transformers"] / seconds
        share = report["bandwidth_ratio"].get(name)
        bound = "" if share is None else f"{share:.0%}"
        lines.append(f"| {name} | {seconds:.2f} | {music / seconds:.2f} | {ratio:.2f} | {bound} |")
    lines.append(f"\nOf these, EnCodec: {report['encodec_seconds']:.2f} s. Codes equal: {report['equal_codes']:.1%}.")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of music")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    parser.add_argument("--bf16", action="store_true", help="measure bfloat16 weights too")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report = measure(arguments.seconds, max(1, arguments.repeats), arguments.bf16)
    print(json.dumps(report) if arguments.json else table(report))


if __name__ == "__main__":
    main()
