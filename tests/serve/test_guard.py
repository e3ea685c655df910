"""Who is let in, and how much they may send; with workers that only pretend to think."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient

from m2ugen.serve.app import create_app
from m2ugen.serve.engine import Engine
from m2ugen.serve.process import WorkerProcess
from m2ugen.serve.settings import Limits, Settings
from tests.serve.conftest import eventually

KEY = "a-key-that-is-long-enough"
PRETENDER = (sys.executable, "-m", "tests.serve.pretender")


@contextmanager
def client(**settings: Any) -> Iterator[TestClient]:
    told = Settings(**settings)
    engine = Engine(told, lambda some: WorkerProcess(some, PRETENDER))
    with TestClient(create_app(told, engine)) as made:
        eventually(lambda: made.get("/readyz").status_code == 200)
        yield made


@pytest.fixture(scope="module")
def guarded() -> Iterator[TestClient]:
    limits = Limits(file_bytes=10_000, body_bytes=20_000)
    with client(api_keys=(KEY,), origins=("https://friend.example",), hosts=("testserver",), limits=limits) as made:
        yield made


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def test_a_key_is_needed_for_the_api_but_not_for_the_page(guarded: TestClient) -> None:
    for path in ("/v1/models", "/v1/about", "/metrics", "/v1/music/jobs/x"):
        assert code(guarded.get(path)) == (401, "invalid_api_key")
        assert code(guarded.get(path, headers={"Authorization": "Bearer wrong"})) == (401, "invalid_api_key")
    for path in ("/", "/page/app.js", "/healthz", "/readyz", "/openapi.json"):
        assert guarded.get(path).status_code == 200
    assert guarded.get("/v1/models", headers={"Authorization": f"Bearer {KEY}"}).status_code == 200


def test_foreign_pages_and_names_are_kept_out(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    ask = {"question": "well"}
    foreign = guarded.post("/v1/music/ask", data=ask, headers={**headers, "Origin": "https://evil.example"})
    assert code(foreign) == (403, "wrong_origin")
    assert "access-control-allow-origin" not in foreign.headers
    own = guarded.post("/v1/music/ask", data=ask, headers={**headers, "Origin": "http://testserver"})
    friend = guarded.post("/v1/music/ask", data=ask, headers={**headers, "Origin": "https://friend.example"})
    assert own.status_code == friend.status_code == 202
    assert friend.headers["access-control-allow-origin"] == "https://friend.example"
    assert code(guarded.get("/v1/models", headers={**headers, "Host": "evil.example"})) == (403, "wrong_host")


def test_requests_have_a_size(guarded: TestClient) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    large = guarded.post("/v1/music/ask", data={"question": "x"}, files={"music": bytes(30_000)}, headers=headers)
    assert code(large) == (413, "too_large")

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield bytes(1000)

    streamed = guarded.post("/v1/chat/completions", content=pieces(), headers=headers)
    assert code(streamed) == (413, "too_large")
    file = guarded.post("/v1/music/ask", data={"question": "x"}, files={"music": bytes(12_000)}, headers=headers)
    assert code(file) == (413, "file_too_large")


def test_answers_carry_the_headers_that_protect_a_page(guarded: TestClient) -> None:
    headers = guarded.get("/").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"


def test_a_full_server_answers_429_and_says_when(capsys: pytest.CaptureFixture[str]) -> None:
    with client(queue=1, batch=1) as busy:
        first = busy.post("/v1/music/ask", data={"question": "sleep 3"}).json()["id"]
        eventually(lambda: busy.get(f"/v1/music/jobs/{first}").json()["state"] == "running")
        busy.post("/v1/music/ask", data={"question": "secret words"})
        refused = busy.post("/v1/music/ask", data={"question": "another"})
        assert code(refused) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        body = {"model": "nano", "messages": [{"role": "user", "content": "hello"}]}
        assert code(busy.post("/v1/chat/completions", json=body)) == (429, "queue_full")
        assert busy.delete(f"/v1/music/jobs/{first}").json()["state"] == "cancelled"
        told = busy.get("/metrics").text
        assert "m2ugen_rejected_total 2.0" in told
        assert 'm2ugen_jobs_total{kind="ask",outcome="cancelled"} 1.0' in told
    logged = capsys.readouterr().err
    assert '"route": "/v1/music/ask"' in logged
    assert "secret words" not in logged and first not in logged and "secret words" not in told


def test_a_failed_job_is_an_error_for_those_who_wait_for_it() -> None:
    with client(batch=1) as made:
        for words, status, name in (("die", 502, "worker_lost"), ("refuse", 400, "invalid_input")):
            body = {"model": "nano", "messages": [{"role": "user", "content": words}]}
            assert code(made.post("/v1/chat/completions", json=body)) == (status, name)
            with made.stream("POST", "/v1/chat/completions", json={**body, "stream": True}) as stream:
                lines = [line for line in stream.iter_lines() if line]
            assert name in lines[-1] and "[DONE]" not in lines[-1]
