"""How much memory and time it takes to convert a published checkpoint, and to load what came of it.

    .venv/bin/python benchmarks/convert.py [--json] [--gigabytes 2] [--folder DIR]

Writes a synthetic M2UGen checkpoint of about that size (half precision, the published sizes but fewer layers), converts
it, and loads the result with 8-bit weights, each in a process of its own. Memory is that process's largest resident
size; ``*_ratio`` is what it has beyond its imports, divided by the checkpoint's size: a converter that holds the whole
model, or a loader that makes an fp32 copy, would have more than 1 or 2. ``import_seconds`` is that of the package.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from m2ugen.config import M2UGenConfig
from m2ugen.convert.names import FROZEN, published_tensor
from m2ugen.model.modeling import M2UGenModel

GB = 1e9
HIDDEN, INNER, HEADS, VOCABULARY = 4096, 11008, 32, 32000

CHILD = """
import json, resource, sys, time
from pathlib import Path
from m2ugen.convert.folder import convert
from m2ugen.model.modeling import M2UGenModel

def peak():
    status = Path("/proc/self/status")  # the other measure includes what the parent had
    if status.is_file():
        return next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

work, source, output = sys.argv[1:]
before, start = peak(), time.perf_counter()
if work == "convert":
    convert(source, output)
else:
    M2UGenModel.from_pretrained(output, quantise="int8")
print(json.dumps({"before": before, "peak": peak(), "seconds": time.perf_counter() - start}))
"""


def write_checkpoint(path: Path, gigabytes: float) -> int:
    """A checkpoint of roughly ``gigabytes``, in half precision; returns its size in bytes."""
    layer_bytes = 2 * (4 * HIDDEN**2 + 3 * HIDDEN * INNER)
    outer_bytes = 2 * (2 * VOCABULARY * HIDDEN + 9 * HIDDEN**2)  # vocabulary and one adapter of three
    layers = max(3, round((gigabytes * GB - outer_bytes) / layer_bytes))
    config = M2UGenConfig(  # not quite the sizes of a preset, whose encoders would be loaded too
        music_encoder={"num_tokens": 24, "dim": 1024},
        language_model={
            "vocab_size": VOCABULARY,
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_hidden_layers": layers,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS,
            "tie_word_embeddings": False,
        },
        tuning={"layers_per_modality": layers, "lora_rank": 16},
    )
    with torch.device("meta"):
        shapes = M2UGenModel(config).state_dict()
    state = {}
    for name, tensor in shapes.items():
        published = published_tensor(name, tensor, config)
        if published is not None and not published[0].startswith(FROZEN):
            state[published[0]] = torch.zeros(published[1].shape, dtype=torch.float16)
    torch.save({"model": state}, path)
    return path.stat().st_size


def measure(gigabytes: float, folder: Path) -> dict[str, Any]:
    """All figures as one JSON value."""
    checkpoint = folder / "checkpoint.pth"
    size = write_checkpoint(checkpoint, gigabytes)
    report: dict[str, Any] = {"checkpoint_gb": round(size / GB, 3)}
    for work in ("convert", "load"):
        command = [sys.executable, "-c", CHILD, work, str(checkpoint), str(folder / "model")]
        found = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )
        report[f"{work}_peak_gb"] = round(found["peak"] / GB, 3)
        report[f"{work}_ratio"] = round((found["peak"] - found["before"]) / size, 3)
        report[f"{work}_seconds"] = round(found["seconds"], 2)
        report["imports_gb"] = round(found["before"] / GB, 3)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import m2ugen"], check=True)
    return {**report, "import_seconds": round(time.perf_counter() - start, 3)}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0, help="size of the checkpoint")
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        report = measure(arguments.gigabytes, Path(folder))
    if arguments.json:
        print(json.dumps(report))
    else:
        print("\n".join(f"{name}: {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
