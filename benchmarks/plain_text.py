"""What training has cost the language model in plain text: its perplexity before and after.

    .venv/bin/python benchmarks/plain_text.py [--json] [--model nano] [--text FILE] [--tokens 20000]

The text is the part of Python's own manual that training does not read (``pydoc_data.topics``, which every installation
has) unless ``--text`` names another. Both models read the same windows of 512 tokens in fp32: the language model as it
comes, and that of the model with its low-rank updates merged, nothing attached. The ratio is after / before; 1 means
that nothing was lost.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from m2ugen.data.nano.language.plain_text import manual
from m2ugen.model.modeling import M2UGenModel
from m2ugen.weights.smollm2 import resolve

WINDOW = 512


@torch.inference_mode()
def perplexity(logits_of: Any, windows: torch.Tensor, vocab_size: int) -> float:
    """exp of the mean cross-entropy of every token after the first of each of ``windows`` [count, WINDOW]."""
    total = 0.0
    for window in windows:
        logits = logits_of(window[None])[0, :-1, :vocab_size].float()
        total += float(F.cross_entropy(logits, window[1:], reduction="sum"))
    return math.exp(total / (windows.numel() - len(windows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--text", type=Path, help="UTF-8 text to read instead")
    parser.add_argument("--tokens", type=int, default=20000)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    from transformers import AutoModelForCausalLM

    model = M2UGenModel.load(arguments.model, quantise=None)
    before = AutoModelForCausalLM.from_pretrained(resolve(), dtype=torch.float32, local_files_only=True).eval()
    text = manual(held_out=True) if arguments.text is None else arguments.text.read_text(encoding="utf-8")
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"][: arguments.tokens]
    if len(ids) < WINDOW:
        raise SystemExit(f"the text has {len(ids)} tokens; give at least {WINDOW}")
    windows = torch.tensor(ids[: len(ids) // WINDOW * WINDOW]).view(-1, WINDOW)
    nothing = model.adapter_states({})
    language_model = model.language_model
    figures = {
        "tokens": windows.numel(),
        "before": perplexity(lambda row: before(row).logits, windows, language_model.vocab_size),
        "after": perplexity(
            lambda row: language_model.logits(language_model(row, nothing)), windows, language_model.vocab_size
        ),
    }
    figures["ratio"] = figures["after"] / figures["before"]
    if arguments.json:
        print(json.dumps(figures))
        return
    print(f"{figures['tokens']} tokens of plain text: perplexity {figures['before']:.2f} before training,")
    print(f"{figures['after']:.2f} after it ({figures['ratio']:.3f} times)")


if __name__ == "__main__":
    main()
