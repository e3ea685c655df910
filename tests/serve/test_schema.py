"""Nothing that fits the schema, or does not, makes the server fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

SECONDS = os.environ.get("M2UGEN_FUZZ_SECONDS", "60")


@pytest.mark.slow
def test_schemathesis_finds_no_failure(server: str, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    command = shutil.which("schemathesis", path=Path(sys.executable).parent)
    assert command is not None
    run = subprocess.run(
        [
            command, "run", f"{server}/openapi.json", "--checks", "not_a_server_error", "--phases", "fuzzing",
            "--max-time", SECONDS, "--exclude-path", "/readyz", "--request-timeout", "60", "--workers", "1",
        ],
        capture_output=True, text=True, timeout=float(SECONDS) + 300, cwd=tmp_path,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:]
    assert "Traceback" not in run.stdout
    with urllib.request.urlopen(f"{server}/readyz", timeout=30) as answer:
        assert answer.status == 200
