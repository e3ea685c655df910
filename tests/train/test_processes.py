"""Two processes compute what one computes: data parallel, and sharded with FSDP 2 by the shipped configuration."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from m2ugen.train.checkpoint import checkpoints
from tests.train import two_processes

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "m2ugen" / "train" / "accelerate"
pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def single(twin: Path, sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process, with two batches a step."""
    output = tmp_path_factory.mktemp("single")
    two_processes.go(twin, sets, output, accumulation=2)
    return output


def accelerate_file(folder: Path, name: str) -> Path:
    """A shipped configuration, for CPUs."""
    settings: dict[str, Any] = yaml.safe_load((CONFIGS / name).read_text())
    assert settings["num_processes"] == 2
    settings["use_cpu"] = True
    path = folder / name
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("name", "sharded"), [("cpu-2.yaml", False), ("gpu-2.yaml", True)])
def test_two_processes_end_with_the_weights_of_one(
    name: str, sharded: bool, single: Path, twin: Path, sets: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(accelerate_file(tmp_path, name))),
        *("--main_process_port", str(port), "-m", "tests.train.two_processes", str(twin), str(sets), str(tmp_path)),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.split() == [f"2 processes, sharded: {sharded}".replace(" ", "_")]
    one, two = (checkpoints(folder / "checkpoints")[-1] for folder in (single, tmp_path))
    for file in ("weights.safetensors", "ema.safetensors"):
        expected, found = load_file(one / file), load_file(two / file)
        assert expected.keys() == found.keys()
        for key, tensor in expected.items():
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-5, msg=key)
    expected, found = (load_file(folder / "export" / "bridge.safetensors") for folder in (single, tmp_path))
    assert expected.keys() == found.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key].float(), tensor.float(), rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations_are_those_of_accelerate(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    found = load_config_from_file(str(path))
    machines = int(path.stem.split("-")[1]) if path.stem.startswith("nodes") else 1
    assert found.num_machines == machines
    devices = 8 * machines if machines > 1 else int(path.stem.split("-")[1])
    assert found.num_processes == devices
    assert bool(found.fsdp_config) == (path.stem.startswith(("gpu", "nodes")) and devices > 1)
