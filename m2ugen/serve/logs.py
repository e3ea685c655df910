"""Structured logs: one JSON object a line on stderr, never with anything that a user wrote or sent."""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def log(event: str, level: str = "info", **fields: Any) -> None:
    """Write one event. ``fields`` are numbers, names of routes and kinds; no prompts, files, keys or job ids."""
    record = {"time": round(time.time(), 3), "level": level, "event": event}
    record.update({name: value for name, value in fields.items() if value is not None})
    print(json.dumps(record), file=sys.stderr, flush=True)
