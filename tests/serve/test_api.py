"""The plain interface, its client and OpenAI's, on a server with nano."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import symusic

from m2ugen.errors import InputError
from m2ugen.examples import example
from m2ugen.serve.client import Client, Result, ServerError

httpx = pytest.importorskip("httpx", reason="needs the extra serve")
SHORT = 4.0  # seconds of music


@pytest.fixture(scope="module")
def client(server: str) -> Iterator[Client]:
    with Client(server) as made:
        yield made


@pytest.fixture(scope="module")
def piece(client: Client) -> Result:
    return client.generate("a slow piano piece in C major", duration=SHORT, seed=5).wait(120)


@pytest.fixture(scope="module")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of the example."""
    samples, rate = soundfile.read(example("music"))
    path = tmp_path_factory.mktemp("tune") / "tune.wav"
    soundfile.write(path, samples[: 3 * rate], rate)
    return path


def tempo(result: Result) -> float:
    """Beats per minute, as the plan says."""
    found = re.search(r"(\d+) bpm", result.plan or "")
    assert found is not None
    return float(found[1])


def test_music_is_made_and_can_be_had_in_every_format(piece: Result, tmp_path: Path) -> None:
    assert piece.seed == 5 and piece.duration == pytest.approx(SHORT, rel=0.01)
    for ending in (".wav", ".mp3", ".flac", ".ogg"):
        samples, rate = soundfile.read(piece.save(tmp_path / f"a{ending}"))
        assert len(samples) / rate == pytest.approx(SHORT, abs=0.1) and np.abs(samples).max() > 0.01
    assert symusic.Score(piece.save(tmp_path / "a.mid")).note_num() > 0
    with pytest.raises(ServerError, match="no such file"):
        piece.save(tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()
    outline = json.loads(piece.read("outline.json"))
    assert len(outline["peaks"]) == 800 and outline["notes"] and outline["parts"]


def test_the_same_seed_makes_the_same_music(client: Client, piece: Result) -> None:
    again = client.generate("a slow piano piece in C major", duration=SHORT, seed=5).wait(120)
    assert again.read("audio.wav") == piece.read("audio.wav")


def test_an_earlier_result_is_edited_in_its_score(client: Client, piece: Result) -> None:
    edited = client.edit("add drums", piece, seed=1).wait(120)
    before, after = (json.loads(result.read("outline.json")) for result in (piece, edited))
    assert "drums (drums)" in after["parts"] and "drums (drums)" not in before["parts"]
    kept = {tuple(note[:3]) for note in after["notes"]}
    assert {tuple(note[:3]) for note in before["notes"]} <= kept


def test_questions_and_files(client: Client, tune: Path) -> None:
    job = client.ask("Are there drums?", music=tune)
    states = list(job.watch())
    assert states[-1].state == "done" and states[-1].text
    assert job.wait().files == ()
    assert client.ask("What is this?", image=example("bright").read_bytes()).wait(60).text


@pytest.mark.slow
def test_a_video_gets_a_soundtrack(client: Client, tmp_path: Path) -> None:
    result = client.generate("a soundtrack", video=example("video"), seed=1, keep_sound=True).wait(120)
    path = result.save(tmp_path / "a.mp4")
    with av.open(str(path)) as container:
        assert container.streams.video and container.streams.audio
        assert float(container.duration / 1e6) == pytest.approx(result.duration or 0, abs=0.3)


def test_music_is_heard_while_it_is_written(client: Client, server: str) -> None:
    form = {"prompt": "a fast rock song with drums", "duration": "40", "seed": "3", "live": "true"}
    job = httpx.post(f"{server}/v1/music/generate", data=form).json()["id"]
    states, heard = [], b""
    with httpx.stream("GET", f"{server}/v1/music/jobs/{job}/live", timeout=120) as response:
        assert response.status_code == 200 and response.headers["content-type"] == "audio/wav"
        for piece in response.iter_bytes():
            states.append(httpx.get(f"{server}/v1/music/jobs/{job}").json()["state"])
            heard += piece
    assert states[0] == "running"  # the first sound comes before the end
    assert heard[:4] == b"RIFF" and len(heard) == 44 + 40 * 44_100 * 4
    samples = np.frombuffer(heard[44:], dtype="<i2")
    assert 1000 < np.abs(samples).max() < 32767
    quiet = httpx.post(f"{server}/v1/music/generate", data={"prompt": "x", "duration": "2"}).json()["id"]
    assert httpx.get(f"{server}/v1/music/jobs/{quiet}/live", timeout=60).status_code == 404


def test_a_conversation(client: Client, piece: Result) -> None:
    history = [("make a slow piano piece", "Here is a slow piano piece.", True)]
    changed = client.chat("make it faster", history, music=piece, seed=2).wait(120)
    assert tempo(changed) > 1.05 * tempo(piece)
    answered = client.chat("how fast is it?", history, music=piece).wait(120)
    assert answered.text and not answered.files


def test_what_cannot_be_used_is_said(client: Client, server: str, tmp_path: Path, piece: Result) -> None:
    def refused(code: str, status: int, path: str, **form: object) -> str:
        response = httpx.post(f"{server}/{path}", **form)
        assert (response.status_code, response.json()["error"]["code"]) == (status, code)
        assert "Traceback" not in response.text and "/" not in response.json()["error"]["message"]
        return str(response.json()["error"]["message"])

    refused("invalid_form", 422, "v1/music/generate", data={})
    refused("invalid_form", 422, "v1/music/generate", data={"prompt": "x", "duration": "nan"})
    refused("invalid_form", 422, "v1/music/generate", data={"prompt": "x", "seed": "-1"})
    refused("invalid_input", 400, "v1/music/generate", data={"prompt": "  "})
    refused("invalid_input", 400, "v1/music/generate", data={"prompt": "x", "duration": "500"})
    refused("invalid_input", 400, "v1/music/edit", data={"instruction": "add drums"})
    refused("invalid_input", 400, "v1/music/edit", data={"instruction": "add drums", "source": "nothing"})
    refused("invalid_input", 400, "v1/music/chat", data={"message": "x", "history": "{"})
    broken = json.dumps([{"user": "\ud800", "reply": "x"}])
    refused("invalid_input", 400, "v1/music/chat", data={"message": "x", "history": broken})
    text = {"music": ("../../etc/passwd", b"this is not sound")}
    refused("unsupported_media", 415, "v1/music/ask", data={"question": "x"}, files=text)
    refused(
        "unsupported_media",
        415,
        "v1/music/ask",
        data={"question": "x"},
        files={"music": example("bright").read_bytes()},
    )
    refused("invalid_input", 400, "v1/music/ask", data={"question": "x"}, files={"music": b"RIFF0000WAVEdamaged"})
    refused("invalid_input", 400, "v1/music/ask", data={"question": "x"}, files={"music": ("a.wav", b"")})
    refused("file_too_large", 413, "v1/music/ask", data={"question": "x"}, files={"music": bytes(9 << 20)})
    with pytest.raises(ServerError, match="longer than 2048 tokens"):
        client.ask("\N{MUSICAL SYMBOL G CLEF}" * 3000).wait(60)
    words = client.ask("What is music?", max_tokens=4).wait(60)
    with pytest.raises(ServerError, match="no music in it"):
        client.edit("add drums", words).wait(60)
    with pytest.raises(ServerError, match="expired"):
        client.request("GET", "/v1/music/jobs/nothing")
    with pytest.raises(InputError, match=r"nothing\.wav"):
        client.ask("x", music=tmp_path / "nothing.wav")
    for path in ("page/../settings.py", "page/%2e%2e/settings.py", "v1/examples/..%2fsettings.py"):
        assert httpx.get(f"{server}/{path}").status_code == 404
    with pytest.raises(ServerError, match="no such file"):
        client.request("GET", f"/v1/music/jobs/{piece.job_id}/files/notes.npy")


def test_a_job_can_be_cancelled_and_a_result_deleted(client: Client) -> None:
    job = client.generate("a long piece", duration=200)
    job.cancel()
    assert job.state().state == "cancelled"
    with pytest.raises(ServerError, match="cancelled"):
        job.wait(30)
    made = client.ask("What is music?", max_tokens=4)
    made.wait(60)
    made.cancel()
    with pytest.raises(ServerError, match="expired"):
        made.state()


def test_openai_words(server: str, tune: Path) -> None:
    openai = pytest.importorskip("openai", reason="needs the official client")
    client = openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)
    assert [model.id for model in client.models.list()] == ["nano"]
    sound = {"data": base64.b64encode(tune.read_bytes()).decode(), "format": "wav"}
    content = [{"type": "text", "text": "Are there drums?"}, {"type": "input_audio", "input_audio": sound}]
    answer = client.chat.completions.create(model="nano", messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content and answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0
    pieces = client.chat.completions.create(
        model="nano", messages=[{"role": "user", "content": content}], stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    chunks = list(pieces)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == answer.choices[0].message.content
    assert chunks[-1].usage.total_tokens == answer.usage.total_tokens
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "x"}])
    link = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/secret"}}]
    with pytest.raises(openai.BadRequestError, match="fetches nothing"):
        client.chat.completions.create(model="nano", messages=[{"role": "user", "content": link}])


def test_openai_music_from_a_picture_then_an_edit(server: str) -> None:
    openai = pytest.importorskip("openai", reason="needs the official client")
    client = openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)
    picture = "data:image/jpeg;base64," + base64.b64encode(example("dark").read_bytes()).decode()
    content = [{"type": "text", "text": "slow music for this"}, {"type": "image_url", "image_url": {"url": picture}}]
    messages: list[object] = [{"role": "user", "content": content}]
    options = {"model": "nano", "modalities": ["text", "audio"], "seed": 3, "extra_body": {"duration": SHORT}}
    first = client.chat.completions.create(messages=messages, audio={"voice": "alloy", "format": "wav"}, **options)
    audio = first.choices[0].message.audio
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(audio.data)))
    assert len(samples) / rate == pytest.approx(SHORT, rel=0.02)
    messages += [
        {"role": "assistant", "content": first.choices[0].message.content, "audio": {"id": audio.id}},
        {"role": "user", "content": "make it much faster"},
    ]
    pcm, transcript = b"", ""
    for chunk in client.chat.completions.create(
        messages=messages, audio={"voice": "alloy", "format": "pcm16"}, stream=True, **options
    ):
        told = getattr(chunk.choices[0].delta, "audio", None)
        pcm += base64.b64decode(getattr(told, "data", None) or "")
        transcript += getattr(told, "transcript", None) or ""
    assert transcript
    assert 0.5 < len(pcm) / 2 / 24_000 < 2 * SHORT and len(set(pcm)) > 10
