"""``m2ugen info``: what a model consists of and which weights are here."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from m2ugen.cli import common

NAME = "info"
EXAMPLES = """Examples:

m2ugen info

m2ugen info --model nano --json"""

LIBRARIES = ("torch", "transformers", "symusic", "librosa", "av")


def run(model: common.ModelOption = common.DEFAULT_MODEL, json: common.JsonOption = False) -> None:
    """Show a model's parts, their sizes and where their weights are."""
    with common.quiet_libraries():
        loaded = common.load_model(model, quantise=None)  # 8-bit matrices hide their sizes
    parts = {
        name: sum(parameter.numel() for parameter in part.parameters()) for name, part in loaded.model.parts().items()
    }
    facts: dict[str, Any] = {
        "m2ugen": metadata.version("m2ugen"),
        "python": platform.python_version(),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "model": loaded.name,
        "parts": parts,
        "parameters": sum(parts.values()),
        "conditioning_shape": list(loaded.model.model.decoder.conditioning_shape),
        "sample_rate": loaded.model.model.decoder.sample_rate,
        "seconds": {"load": round(loaded.seconds, 3)},
    }
    if json:
        common.print_json(facts)
        return
    print(f"m2ugen {facts['m2ugen']}, python {facts['python']}, torch {facts['libraries']['torch']}")
    print(f"model {loaded.name}, loaded in {loaded.seconds:.1f} s")
    for name, size in parts.items():
        print(f"  {name:<18} {size / 1e6:8.2f} M parameters")
    print(f"  {'total':<18} {facts['parameters'] / 1e6:8.2f} M parameters")
