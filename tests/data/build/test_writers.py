"""The paper's captioners and writers as tiny twins, and a chat model behind an address."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from m2ugen.data.build import chat, understanding
from m2ugen.data.build.build import Built, build
from m2ugen.data.build.captioners import load_captioner
from m2ugen.data.build.layouts import LAYOUTS, SPLITS, read_answers, read_instructions
from m2ugen.data.build.options import BuildOptions
from m2ugen.data.build.writing import SYSTEM, TASKS, differences, read_exchange, read_questions
from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.audio import save_audio
from m2ugen.pipeline import M2UGen
from m2ugen.score.attributes import Attributes
from tests.data.build.media import RATE, tones, write_picture, write_video
from tests.data.build.twins import save_blip, save_mpt, save_timesformer_gpt2, teach
from tests.test_twins import save_twin

EXCHANGE = {"request": "Play a calm song.", "answer": "Here is a calm song."}
CAPTION = "A calm piano song."


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A manifest of two pictures, two videos and their music, with the music's captions."""
    folder = tmp_path / "in"
    rows = []
    for k, colour in enumerate(("red", "blue")):
        write_picture(folder / f"{colour}.png", colour)
        write_video(folder / f"{colour}.mp4", colour)
        save_audio(folder / f"{colour}.wav", tones(2.0, 50 + 4 * k), RATE)
        rows.append({"image": f"{colour}.png", "video": f"{colour}.mp4", "music": f"{colour}.wav", "caption": CAPTION})
    (folder / "list.json").write_text(json.dumps(rows))
    return folder / "list.json"


def made(name: str, source: Path, output: Path, **options: Any) -> Built:
    return build(name, BuildOptions(source, output, **options))


@pytest.mark.parametrize(("name", "save"), [("muimage", save_blip), ("muvideo", save_timesformer_gpt2)])
def test_the_papers_captioners_see(name: str, save: Callable[[Path], Path], described: Path, tmp_path: Path) -> None:
    twin = save(tmp_path / "twin")
    built = made(name, described, tmp_path / "out", captioner=str(twin))
    assert built.units == 2 and not built.report.problems
    entries = read_instructions(tmp_path / "out" / LAYOUTS[name].instructions)
    kind = "picture" if name == "muimage" else "video"
    expected = {f"a red {kind}", f"a {kind} of something blue that moves"}
    assert {entry.input_caption for entry in entries} == expected


def test_other_models_are_no_captioners(tmp_path: Path, described: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="type 'bert'"):
        load_captioner(str(tmp_path))
    with pytest.raises(MissingWeights):
        made("muimage", described, tmp_path / "out", captioner=str(tmp_path / "nothing"))
    twin = save_timesformer_gpt2(tmp_path / "twin")
    with pytest.raises(InputError, match="describes videos"):
        made("muimage", described, tmp_path / "out", captioner=str(twin))


def test_mpt_writes_requests(described: Path, tmp_path: Path) -> None:
    task = TASKS["mucaps"].format(caption=CAPTION)
    prompt = f"<|im_start|>system\n{SYSTEM}<|im_end|>\n<|im_start|>user\n{task}<|im_end|>\n<|im_start|>assistant\n"
    twin = save_mpt(tmp_path / "twin", [prompt], json.dumps(EXCHANGE))
    built = made("mucaps", described, tmp_path / "out", writer=str(twin))
    assert built.units == 2 and not built.report.errors
    entries = read_instructions(tmp_path / "out" / LAYOUTS["mucaps"].instructions)
    assert {(entry.request, entry.answer) for entry in entries} == {(EXCHANGE["request"], EXCHANGE["answer"])}


@pytest.mark.slow
def test_mu_llama_describes_and_answers(described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "twin").mkdir()
    folder = save_twin("mu-llama", tmp_path / "twin")
    twin = M2UGen.from_pretrained(folder, quantise=None)
    monkeypatch.setitem(understanding._LOADED, ("m2ugen", str(folder)), twin)
    teach_to_say(twin, CAPTION)
    songs = tmp_path / "songs"
    songs.mkdir()
    save_audio(songs / "a.wav", tones(2.0), RATE)
    save_audio(songs / "b.wav", tones(2.5, 50, 90, drums=True), RATE)
    made("mucaps", songs, tmp_path / "out", model=str(folder))
    entries = read_instructions(tmp_path / "out" / LAYOUTS["mucaps"].instructions)
    assert [entry.caption for entry in entries] == [CAPTION] * 2
    made("musicqa", songs, tmp_path / "qa", model=str(folder))
    answers = [answer for file in SPLITS.values() for answer in read_answers(tmp_path / "qa" / file)]
    assert len({answer.audio_name for answer in answers}) == 2 and any(a.answer == CAPTION for a in answers)
    with pytest.raises(InputError, match="does not understand image"):
        made("muimage", described, tmp_path / "images", model=str(folder))


def teach_to_say(model: M2UGen, text: str) -> None:
    """Let ``model`` answer any music with ``text``."""
    from m2ugen.model.prompting import Turn, encode_answer, encode_prompt

    layout, tokenizer = model.model.config.prompt_format, model.processor.tokenizer
    rows = []
    for request in (understanding.CAPTION_REQUEST, "Are there drums?"):
        turn = Turn(request, ("music",), text)
        rows.append((encode_prompt(tokenizer, [turn], layout), encode_answer(tokenizer, turn, layout)))
    encoder = model.model.config.music_encoder
    assert encoder is not None
    features = {"music": torch.randn(1, encoder.num_tokens, encoder.dim, generator=torch.Generator().manual_seed(0))}
    llama = model.model.language_model.llama.requires_grad_(True)

    def loss() -> torch.Tensor:
        total = torch.zeros(())
        for prompt, answer in rows:
            ids, labels = torch.tensor([prompt + answer]), torch.tensor([[-100] * len(prompt) + answer])
            found = model.model(ids, labels=labels, features=features).loss
            total = total + found
        return total / len(rows)

    teach(llama.parameters(), loss, goal=0.01)
    llama.requires_grad_(False)


class Server:
    """An OpenAI-compatible server that gives ``answers`` in turn, the last one ever after."""

    def __init__(self, *answers: str | int) -> None:
        self.answers, self.requests = list(answers), []  # type: tuple[list[str | int], list[dict[str, Any]]]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.requests.append({**body, "path": self.path, "key": self.headers.get("Authorization")})
                answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
                status, data = (answer, {}) if isinstance(answer, int) else (200, _completion(answer))
                content = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


def _completion(text: str) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    running: list[Server] = []
    monkeypatch.setattr(chat, "PATIENCE", (0.01, 0.01))
    monkeypatch.setattr(chat, "REQUESTS_AT_ONCE", 1)  # so that answers come in their order
    monkeypatch.setattr(understanding, "_LOADED", {})

    def start(*answers: str | int) -> Server:
        running.append(Server(*answers))
        return running[-1]

    yield start
    for server in running:
        server.http.shutdown()
        server.http.server_close()


def test_an_endpoint_writes_and_is_asked_again(
    serve: Callable[..., Server], described: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    rambling = json.dumps({"request": "word " * 100, "answer": "Yes."})
    server = serve(503, "Sure! " + json.dumps(EXCHANGE), rambling, json.dumps(EXCHANGE))
    built = made("mucaps", described, tmp_path / "out", writer=server.address, writer_model="mpt")
    assert built.units == 2 and len(server.requests) == 4
    first, last = server.requests[0], server.requests[-1]
    assert (first["path"], first["model"], first["key"]) == ("/v1/chat/completions", "mpt", "Bearer secret")
    assert first["temperature"] == 0 and last["temperature"] > 0 and CAPTION in last["messages"][1]["content"]
    made("mucaps", described, tmp_path / "out", writer=server.address, writer_model="mpt")
    assert len(server.requests) == 4  # what was written is kept


def test_what_rambles_is_rejected_in_the_end(serve: Callable[..., Server], described: Path, tmp_path: Path) -> None:
    server = serve(json.dumps(EXCHANGE), "I would rather not.")
    built = made("mucaps", described, tmp_path / "out", writer=server.address, writer_model="mpt")
    assert built.units == 1 and len(server.requests) == 2 + (chat.TRIES - 1)
    assert [(r.stage, r.reason) for r in built.rejected] == [("instruct", "the chat model writes no JSON")]


@pytest.mark.parametrize("answer", [401, 503])
def test_a_server_that_does_not_serve_ends_the_build(
    answer: int, serve: Callable[..., Server], described: Path, tmp_path: Path
) -> None:
    server = serve(answer)
    with pytest.raises(InputError, match=f"does not answer: {answer}"):
        made("mucaps", described, tmp_path / "out", writer=server.address, writer_model="mpt")
    tries = 1 if answer == 401 else 3
    assert tries <= len(server.requests) <= 2 * tries  # the second request may be under way already
    assert not (tmp_path / "out" / LAYOUTS["mucaps"].instructions).exists()


def test_questions_are_written_from_captions(serve: Callable[..., Server], described: Path, tmp_path: Path) -> None:
    questions = [{"question": "Is it calm?", "answer": "Yes, it is."}, {"question": "Who plays?", "answer": "A piano."}]
    server = serve(json.dumps({"questions": questions}))
    built = made("musicqa", described, tmp_path / "out", writer=server.address, writer_model="mpt")
    answers = [answer for file in SPLITS.values() for answer in read_answers(tmp_path / "out" / file)]
    assert built.units == 2 and {a.question for a in answers} == {"Is it calm?", "Who plays?"} and len(answers) == 4


@pytest.mark.parametrize(
    "data",
    [{}, [], {"request": "a"}, {"request": "a", "answer": ""}, {"request": 1, "answer": "b"}, {**EXCHANGE, "more": ""}],
)
def test_the_schema_is_kept(data: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_exchange(data)
    with pytest.raises(ValueError, match=r"\w"):
        read_questions(data)


def test_differences_lead_from_one_piece_to_the_other() -> None:
    piano = Attributes(instruments=("piano",), genre="jazz", mode="major", energy=1)
    guitar = Attributes(instruments=("electric guitar",), genre="rock", mode="major", energy=3)
    assert [(c.operation, c.targets, c.amount) for c in differences(piano, guitar)] == [
        ("swap", ("piano", "electric guitar"), None),
        ("genre", ("rock",), None),
        ("energy", (), 1.0),
    ]
    both = Attributes(instruments=("piano", "drums"))
    assert [c.operation for c in differences(Attributes(instruments=("piano",)), both)] == ["add"]
    assert [c.targets for c in differences(both, Attributes(instruments=("piano",)))] == [("drums",)]
    assert differences(piano, piano) == []
