"""How much a server gets done, how long its callers wait, and whether its memory stays where it is.

    .venv/bin/python benchmarks/serving.py [--json] [--clients 1 4 16] [--requests 48] [--kind mixed] [--compare]
    .venv/bin/python benchmarks/serving.py --clients 16 --requests 500 --kind ask

Starts ``m2ugen serve`` and lets so many clients at a time send requests, each the next one as soon as it has the result
of the last. ``--kind`` is ask (a question in words), generate (``--duration`` seconds of music) or mixed (three
questions for each piece). Latency is from sending to having the result, waiting after "too many requests" included.
``--compare`` repeats it with a server that reads one request at a time (``--batch 1``). Memory is the sum of the
server's processes (resident, Linux), after the first eighth of the requests and at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from m2ugen.serve.client import Client, ServerError

QUESTIONS = (
    "What is a waltz?",
    "Which instruments play in a jazz trio?",
    "What makes music sad?",
    "How fast is techno?",
)
PROMPTS = ("a calm piano piece", "a fast rock song with drums", "slow strings in a minor key", "a happy pop song")
START_SECONDS = 300


@dataclass
class Load:
    """What happened under so many clients."""

    latencies: list[float] = field(default_factory=list)
    busy: int = 0
    lost: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # MB, after each request


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """A server that is ready, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "m2ugen", "serve", "--port", "0", *options],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    end = time.monotonic() + START_SECONDS
    with Client(url) as client:
        while time.monotonic() < end:
            try:
                client.request("GET", "/readyz")
                return process, url
            except ServerError:
                time.sleep(0.2)
    process.kill()
    raise SystemExit("the server did not get ready")


def send(client: Client, number: int, kind: str, duration: float) -> None:
    """One request, from sending to having its result."""
    if kind == "ask" or (kind == "mixed" and number % 4):
        job = client.ask(QUESTIONS[number % len(QUESTIONS)], max_tokens=32)
        if not job.wait(600).text:
            raise ServerError("an empty answer", "empty")
    else:
        job = client.generate(PROMPTS[number // 4 % len(PROMPTS)], duration=duration, seed=number)
        if len(job.wait(600).read("audio.mp3")) < 1000:
            raise ServerError("music without sound", "empty")


def resident(pid: int) -> int:
    """MB of a process and those that it started, 0 where /proc is not there."""
    total, waiting = 0, [pid]
    while waiting:
        current = waiting.pop()
        try:
            status = Path(f"/proc/{current}/status").read_text()
            children = Path(f"/proc/{current}/task/{current}/children").read_text()
        except OSError:
            continue
        total += next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
        waiting += [int(child) for child in children.split()]
    return total // 1024


def load(url: str, pid: int, clients: int, requests: int, kind: str, duration: float) -> dict[str, Any]:
    """Send ``requests`` from ``clients`` at a time."""
    told, numbers, lock = Load(), count(), threading.Lock()

    def work() -> None:
        with Client(url) as client:
            while (number := next(numbers)) < requests:
                begun = time.perf_counter()
                while True:
                    try:
                        send(client, number, kind, duration)
                    except ServerError as error:
                        if error.code == "queue_full":
                            told.busy += 1
                            time.sleep(min(error.retry_after or 1.0, 5.0))
                            continue
                        told.lost.append(error.code)
                    break
                with lock:
                    told.latencies.append(time.perf_counter() - begun)
                    told.memory.append(resident(pid))

    begun = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - begun
    ordered = sorted(told.latencies)
    early = told.memory[len(told.memory) // 8 :][: max(len(told.memory) // 8, 1)]
    return {
        "clients": clients,
        "requests": requests,
        "lost": len(told.lost),
        "told_to_wait": told.busy,
        "per_second": round(requests / seconds, 3),
        "p50": round(statistics.median(ordered), 2),
        "p95": round(ordered[min(int(0.95 * len(ordered)), len(ordered) - 1)], 2),
        "memory_early": round(statistics.mean(early)),
        "memory_end": told.memory[-1],
    }


def measured(name: str, options: list[str], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one server."""
    process, url = start("--queue", str(arguments.queue), *options)
    try:
        with Client(url) as client:
            send(client, 0, "generate", 2.0)  # the first request of a process is slower
        rows = []
        for clients in arguments.clients:
            row = load(url, process.pid, clients, arguments.requests, arguments.kind, arguments.duration)
            rows.append({"server": name, **row})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
        return rows
    finally:
        process.terminate()
        process.wait(120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--requests", type=int, default=48, help="for each number of clients")
    parser.add_argument("--kind", choices=("ask", "generate", "mixed"), default="mixed")
    parser.add_argument("--duration", type=float, default=5.0, help="seconds of music")
    parser.add_argument("--queue", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--compare", action="store_true", help="also a server that reads one request at a time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measured("batching", ["--batch", str(arguments.batch)], arguments)
    if arguments.compare:
        rows += measured("one at a time", ["--batch", "1"], arguments)
    if arguments.json:
        print(json.dumps({"kind": arguments.kind, "cores": os.cpu_count(), "rows": rows}))
        return
    names = list(rows[0])
    print("  ".join(names))
    for row in rows:
        print("  ".join(str(row[name]).rjust(len(name)) for name in names))


if __name__ == "__main__":
    main()
