"""How fast the language model writes, against other ways of writing the same text.

    .venv/bin/python benchmarks/language_model.py [--json] [--tokens 512] [--threads 2] [--repeats 1] [--size 100m]

A Llama of random weights with gated adapters and LoRA (merged, as for inference) writes a text of fixed length,
greedily, in fp32 on the CPU. Beside it: ``generate`` of transformers with the same Llama; the 8-bit form of the model;
and a loop that runs the whole prefix again for every token, timed at every 32nd length and summed up. All of them take
turns of 16 tokens, one running and the others waiting, so that whatever else the machine does slows all alike.
``*_ratio`` say how many times faster this package's loop is (``int8_ratio``: the 8-bit form than the fp32 one);
``same_text``, whether transformers wrote the same.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from transformers import LlamaForCausalLM

from m2ugen.config import M2UGenConfig
from m2ugen.model.generation import Sampling, generate
from m2ugen.model.language_model import LanguageModel

# hidden size, width of the MLP, layers, heads
SIZES = {"tiny": (64, 128, 6, 4), "100m": (768, 2048, 12, 12), "1b": (2048, 5632, 22, 32)}
VOCABULARY = 32000
PROMPT_LENGTH = 16
PREFIX_STEP = 32  # tokens between two timed lengths of the loop without cache
TURN = 16  # tokens that one way writes before the next goes on


def build(size: str) -> tuple[LanguageModel, LlamaForCausalLM]:
    """The extended model, its LoRA merged, and a plain Llama with the same weights."""
    hidden, inner, layers, heads = SIZES[size]
    config = M2UGenConfig(
        music_encoder={"num_tokens": 25, "dim": 1024},
        language_model={
            "vocab_size": VOCABULARY,
            "hidden_size": hidden,
            "intermediate_size": inner,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": heads,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
        },
        tuning={"layers_per_modality": layers // 2, "lora_rank": 16},
    )
    torch.manual_seed(0)
    model = LanguageModel(config).eval()
    plain = LlamaForCausalLM._from_config(config.language_model, attn_implementation="sdpa").eval()
    state = {name.replace(".base.", "."): tensor for name, tensor in model.llama.state_dict().items()}
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    model.merge_lora()
    return model, plain


class Relay:
    """Several ways of writing, each in a thread of its own, of which one runs at a time.

    A way is called with a function that it calls with the number of tokens it has just written. ``seconds`` holds the
    time in which each way was running, ``results`` what it returned.
    """

    def __init__(self, ways: Mapping[str, Callable[[Callable[[int], None]], Any]]) -> None:
        self.ways = ways
        self.seconds = dict.fromkeys(ways, 0.0)
        self.results: dict[str, Any] = {}
        self._signals = {name: threading.Semaphore(0) for name in ways}
        self._since, self._written = 0.0, dict.fromkeys(ways, 0)

    def run(self) -> None:
        """Run all ways to their ends."""
        threads = [threading.Thread(target=self._work, args=(name,)) for name in self.ways]
        for thread in threads:
            thread.start()
        self._signals[next(iter(self.ways))].release()
        for thread in threads:
            thread.join()

    def _work(self, name: str) -> None:
        self._wait(name)
        try:
            self.results[name] = self.ways[name](lambda count: self._tick(name, count))
        finally:
            self.results.setdefault(name, None)
            self._pass_on(name)

    def _tick(self, name: str, count: int) -> None:
        self._written[name] += count
        if self._written[name] >= TURN:
            self._written[name] = 0
            self._pass_on(name)
            self._wait(name)

    def _wait(self, name: str) -> None:
        self._signals[name].acquire()
        self._since = time.perf_counter()

    def _pass_on(self, name: str) -> None:
        self.seconds[name] += time.perf_counter() - self._since
        names = list(self.ways)
        place = names.index(name) + 1
        following = [other for other in (*names[place:], *names[:place]) if other not in self.results]
        if following:
            self._signals[following[0]].release()


class Streamer:
    """What transformers calls with the prompt, then with every token."""

    def __init__(self, tick: Callable[[int], None]) -> None:
        self._tick, self._started = tick, False

    def put(self, value: torch.Tensor) -> None:
        """The prompt or a token."""
        if self._started:
            self._tick(1)
        self._started = True

    def end(self) -> None:
        """Nothing more comes."""


@torch.inference_mode()
def without_cache(model: LanguageModel, prompt: list[int], tokens: int, tick: Callable[[int], None]) -> float:
    """Seconds that ``tokens`` tokens would take when every step runs the whole prefix."""
    states = model.adapter_states()
    lengths = range(PREFIX_STEP // 2, tokens, PREFIX_STEP)
    total = 0.0
    for count in lengths:
        ids = torch.tensor([prompt + [7] * count])
        start = time.perf_counter()
        model.logits(model(ids, states)[:, -1]).argmax()
        total += time.perf_counter() - start
        tick(TURN)
    return total * tokens / len(lengths)


def measure(size: str, tokens: int, repeats: int) -> dict[str, Any]:
    """All figures: seconds of each way, ``repeats`` texts summed up, and the ratios."""
    model, plain = build(size)
    quantised, _ = build(size)
    quantised.quantize_for_cpu()
    prompt = torch.randint(3, VOCABULARY, (PROMPT_LENGTH,), generator=torch.Generator().manual_seed(1)).tolist()
    sampling = Sampling(max_new_tokens=tokens, audio="never")
    ids = torch.tensor([prompt])

    def transformers_text(tick: Callable[[int], None]) -> list[int]:
        options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
        mask, streamer = torch.ones_like(ids), Streamer(tick)
        found = plain.generate(ids, attention_mask=mask, eos_token_id=None, streamer=streamer, **options)
        text: list[int] = found[0, PROMPT_LENGTH:].tolist()
        return text

    def text_by(writer: LanguageModel) -> Callable[[Callable[[int], None]], list[int]]:
        return lambda tick: generate(writer, [prompt], sampling=sampling, on_token=lambda _row, _id: tick(1)).tokens[0]

    for warm in (model, quantised):
        generate(warm, [prompt], sampling=Sampling(max_new_tokens=2, audio="never"))
    took = dict.fromkeys(("m2ugen", "transformers", "int8", "no_cache"), 0.0)
    same = True
    for _ in range(repeats):
        relay = Relay(
            {
                "m2ugen": text_by(model),
                "transformers": transformers_text,
                "int8": text_by(quantised),
                "no_cache": lambda tick: without_cache(model, prompt, tokens, tick),
            }
        )
        relay.run()
        for name in took:
            took[name] += relay.results[name] if name == "no_cache" else relay.seconds[name]
        same &= relay.results["m2ugen"] == relay.results["transformers"]
    return {
        "parameters": sum(parameter.numel() for parameter in plain.parameters()),
        "tokens": tokens,
        "threads": torch.get_num_threads(),
        "seconds": {name: round(value, 3) for name, value in took.items()},
        "tokens_per_second": {name: round(repeats * tokens / value, 2) for name, value in took.items()},
        "cache_ratio": round(took["no_cache"] / took["m2ugen"], 2),
        "transformers_ratio": round(took["transformers"] / took["m2ugen"], 3),
        "int8_ratio": round(took["m2ugen"] / took["int8"], 3),
        "same_text": same,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="100m")
    parser.add_argument("--tokens", type=int, default=512, help="length of the text")
    parser.add_argument("--repeats", type=int, default=1, help="texts of each way")
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    report = measure(arguments.size, arguments.tokens, max(1, arguments.repeats))
    if not arguments.json:
        print("\n".join(f"{name}: {value}" for name, value in report.items()))
    else:
        print(json.dumps(report))


if __name__ == "__main__":
    main()
