"""The same server on Ray Serve, with two replicas of which one is killed under load."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from m2ugen.serve.client import Client
from m2ugen.serve.tasks import Task

ray = pytest.importorskip("ray", reason="needs the extra serve")
serve = pytest.importorskip("ray.serve", reason="needs the extra serve")
SHORT = 4.0  # seconds of music


def test_parcels_bring_their_files_along(tmp_path: Path) -> None:
    from m2ugen.serve.cluster import pack, unpacked

    folder, source = tmp_path / "job", tmp_path / "earlier"
    for place in (folder, source):
        place.mkdir()
    (folder / "image.npz").write_bytes(b"pixels")
    (folder / "upload-image").write_bytes(b"as it came")
    (source / "audio.wav").write_bytes(b"sound")
    with unpacked([pack(Task("id", "edit", "x", folder, ("image",), source))]) as (task,):
        assert task.source is not None
        assert task.folder != folder and task.source != source
        assert (task.folder / "image.npz").read_bytes() == b"pixels"
        assert (task.source / "audio.wav").read_bytes() == b"sound"
        assert not (task.folder / "upload-image").exists()
    assert not task.folder.exists()


@pytest.mark.parametrize("name", ["ray-one-node", "ray-cluster"])
def test_the_configurations_are_what_ray_serve_reads(name: str, tmp_path: Path) -> None:
    from ray.serve.schema import ServeDeploySchema

    from m2ugen.serve.cluster import build

    text = (Path(__file__).parents[2] / "deploy" / f"{name}.yaml").read_text()
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    assert application.import_path == f"{build.__module__}:build"
    assert {deployment.name for deployment in application.deployments} == {"web", "reader", "player"}
    keys = tmp_path / "keys"
    keys.write_text("a-key-that-is-long-enough\n")
    given = {**application.args, **({"api_keys": str(keys)} if "api_keys" in application.args else {})}
    assert build(given) is not None


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from m2ugen.serve.cluster import build

    os.environ["RAY_DISABLE_IMPORT_WARNING"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else whatever else runs comes first
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": 8917})
    serve.run(build({"lanes": 4, "batch": 2, "readers": 1, "players": 2}), name="m2ugen", route_prefix="/")
    yield "http://127.0.0.1:8917"
    serve.shutdown()
    ray.shutdown()


@pytest.mark.slow
def test_a_replica_killed_under_load_costs_no_request(address: str) -> None:
    with Client(address) as client:
        while client.request("GET", "/healthz").status_code != 200:
            time.sleep(0.5)
        first = client.generate("a calm piano piece", duration=SHORT, seed=3).wait(300)
        handle = serve.get_deployment_handle("player", app_name="m2ugen")
        pids = {handle.pid.remote().result() for _ in range(40)}
        assert len(pids) == 2
        jobs = [client.generate("a calm piano piece", duration=SHORT, seed=3 + number) for number in range(8)]
        asked = client.ask("What is music?", max_tokens=8)
        while not any(job.state().progress > 0.1 for job in jobs):
            time.sleep(0.05)
        os.kill(pids.pop(), signal.SIGKILL)
        results = [job.wait(400) for job in jobs]
        assert all(result.duration == pytest.approx(SHORT, rel=0.01) for result in results)
        assert results[0].read("audio.wav") == first.read("audio.wav")
        assert asked.wait(300).text
        edited = client.edit("make it faster", first).wait(300)
        assert edited.plan is not None and edited.plan != first.plan
