"""How fast the default model is, how much memory it takes, and how it stands beside others.

    .venv/bin/python benchmarks/nano.py [--json] [--threads 2] [--repeats 3] [--durations 10 30] [--no-rivals]

Prints seconds to load (cold in this process), to answer a question about ten seconds of music, and to generate music of
several durations: the first call, and the median of the following ones ("warm"). The real-time factor is seconds of
music per second of work; memory is the peak of the whole process, before any rival is loaded. ``cold_first_sound`` is
the median time from the start of a process to the first sound of a piece of a minute; ``first_token`` that from a
question about music that was heard before to the first word of the answer. The rivals are the score decoder's own
network in eager torch (``score_decoder.py``) and, where llama-cpp-python is installed, llama.cpp with the same language
model (``beside_llama_cpp.py``); each ratio is this package's speed by the rival's.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

PROMPT = "a cheerful pop song with piano, bass and drums"
QUESTION = "Which instruments play?"
ANOTHER = "How fast is it?"
FIRST_SOUND = f"""
from m2ugen import M2UGen
stream = M2UGen.from_pretrained("nano").generate({PROMPT!r}, duration=60, seed=1, stream=True)
next(stream)
import os
os._exit(0)
"""


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds that ``action`` takes, and its result."""
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def peak_memory() -> int:
    """Largest resident size of this process so far, in MB (10⁶ bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6)  # bytes there, 1024 bytes each elsewhere


def first_and_warm(action: Callable[[int], Any], repeats: int) -> tuple[dict[str, float], Any]:
    """Seconds of the first call and the median of ``repeats`` further ones; ``action`` receives a seed."""
    first, result = timed(lambda: action(0))
    warm = [timed(lambda seed=seed: action(seed))[0] for seed in range(1, repeats + 1)]
    return {"first": round(first, 3), "warm": round(statistics.median(warm), 3)}, result


def cold_first_sound(repeats: int) -> float:
    """Median seconds from the start of a new process to the first sound of a piece."""

    def start() -> None:
        subprocess.run([sys.executable, "-c", FIRST_SOUND], check=True, capture_output=True)

    return statistics.median(timed(start)[0] for _ in range(repeats))


def first_token(model: Any, music: Any, repeats: int) -> float:
    """Median seconds to the first piece of an answer about ``music``, after a first question about it."""
    model.ask(QUESTION, music=music)
    taken = []
    for _ in range(repeats):
        began, told = time.perf_counter(), list[float]()
        model.ask(ANOTHER, music=music, on_text=lambda _text, told=told: told.append(time.perf_counter()))
        taken.append(told[0] - began)
    return round(statistics.median(taken), 3)


def beside_rivals(model: Any, threads: int, repeats: int) -> dict[str, Any]:
    """The reports of the two comparisons; None for a rival that is not installed."""
    import beside_llama_cpp
    import score_decoder

    report: dict[str, Any] = {"score_decoder": score_decoder.measure(model, 30.0, repeats, threads)}
    installed = importlib.util.find_spec("llama_cpp") is not None
    report["language_model"] = beside_llama_cpp.measure(model, 128, threads, repeats) if installed else None
    return report


def measure(model_name: str, durations: list[float], repeats: int, rivals: bool) -> dict[str, Any]:
    """All figures as one JSON value."""
    cold = cold_first_sound(repeats)

    def load() -> Any:
        from m2ugen import M2UGen

        return M2UGen.from_pretrained(model_name)

    seconds, model = timed(load)
    report: dict[str, Any] = {
        "model": model_name,
        "machine": {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()},
        "load": round(seconds, 3),
        "cold_first_sound": round(cold, 3),
        "generate": {},
    }
    reply = None
    for duration in durations:
        figures, reply = first_and_warm(
            lambda seed, duration=duration: model.generate(PROMPT, duration=duration, seed=seed), repeats
        )
        figures["real_time_factor"] = round(duration / figures["warm"], 2)
        figures["duration"] = round(reply.duration, 3)
        report["generate"][f"{duration:g}"] = figures
    assert reply is not None
    clip = reply.audio[:, : 10 * reply.sample_rate]
    # another excerpt each time, so that no cache of features can help
    report["ask"], _ = first_and_warm(
        lambda seed: model.ask(QUESTION, music=(clip[:, seed * 1000 :], reply.sample_rate)), repeats
    )
    report["first_token"] = first_token(model, (clip, reply.sample_rate), repeats)
    report["peak_memory_mb"] = peak_memory()
    if rivals:
        import torch

        report["beside"] = beside_rivals(model, torch.get_num_threads(), repeats)
    return report


def table(report: dict[str, Any]) -> str:
    """The report as a Markdown table."""
    rows = [
        ("load", f"{report['load']:.2f} s", ""),
        ("start to first sound", f"{report['cold_first_sound']:.2f} s", ""),
    ]
    rows.append(("first word of an answer", "", f"{report['first_token']:.2f} s"))
    rows += [("ask, 10 s of music", f"{report['ask']['first']:.2f} s", f"{report['ask']['warm']:.2f} s")]
    for duration, figures in report["generate"].items():
        warm = f"{figures['warm']:.2f} s ({figures['real_time_factor']:.1f} × real time)"
        rows.append((f"generate {duration} s", f"{figures['first']:.2f} s", warm))
    rows.append(("peak memory", f"{report['peak_memory_mb']} MB", ""))
    for name, unit in (("score_decoder", "notes"), ("language_model", "tokens")):
        if found := report.get("beside", {}).get(name):
            speeds = ", ".join(f"{who} {speed:g}" for who, speed in found[f"{unit}_per_second"].items())
            rows.append((f"{name.replace('_', ' ')}, {unit} per second", "", f"{speeds}: ratio {found['ratio']:.2f}"))
    return "\n".join(["| | first | warm |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)])


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--durations", type=float, nargs="+", default=[10.0, 30.0], help="seconds of music")
    parser.add_argument("--repeats", type=int, default=3, help="warm calls of each kind")
    parser.add_argument("--no-rivals", action="store_true", help="leave out the comparisons")
    parser.add_argument("--threads", type=int, help="cores to use (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    report = measure(arguments.model, arguments.durations, max(1, arguments.repeats), not arguments.no_rivals)
    print(json.dumps(report) if arguments.json else table(report))


if __name__ == "__main__":
    main()
