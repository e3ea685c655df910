"""The pipeline on nano: what users call, on real small files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2ugen.checks import checked_duration, checked_seed, checked_text
from m2ugen.errors import InputError
from m2ugen.evaluate.controls import heard
from m2ugen.examples import example
from m2ugen.pipeline import M2UGen
from m2ugen.score.attributes import attributes_from_conditioning
from m2ugen.score.directions import Directions
from m2ugen.score.plan import Plan

ROCK = "a fast rock song with electric guitar, bass and drums in a minor key"
RATE = 22050


def tone(seconds: float = 4.0) -> tuple[np.ndarray, int]:
    time = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 440 * time)).astype(np.float32), RATE


def test_ask_answers_in_words(nano: M2UGen) -> None:
    pieces: list[str] = []
    reply = nano.ask("Which instruments play?", music=example("music"), on_text=pieces.append)
    assert reply.text and reply.audio is None
    assert "".join(pieces).strip() == reply.text
    assert "[AUD" not in reply.text


def test_generate_gives_stereo_music_of_the_asked_length(nano: M2UGen) -> None:
    seen: list[float] = []
    reply = nano.generate(ROCK, duration=8, seed=1, progress=seen.append)
    assert reply.audio is not None and reply.plan is not None and reply.notes is not None
    assert reply.audio.shape[0] == 2 and reply.audio.dtype == np.float32
    assert reply.duration == pytest.approx(8, rel=0.01)
    assert 0.05 < np.abs(reply.audio).max() <= 1.0
    assert seen == sorted(seen) and seen[-1] == 1.0
    assert {"electric guitar", "drums"} <= set(heard(reply.notes, reply.plan).instruments)
    assert reply.score is not None and reply.score.note_num() == len(reply.notes)


def test_same_seed_same_music_other_seed_other_music(nano: M2UGen) -> None:
    first, again, other = (nano.generate("a calm piano piece", duration=5, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first.audio, again.audio)
    assert not np.array_equal(first.notes, other.notes)


def test_a_plan_can_be_handed_back(nano: M2UGen) -> None:
    first = nano.generate("a slow waltz for piano", duration=6, seed=2)
    plan = Plan.from_dict(first.plan.to_dict()).replace(tempo=first.plan.tempo * 2)
    again = nano.generate("a slow waltz for piano", seed=2, plan=plan)
    assert again.plan == plan
    assert again.plan.duration == pytest.approx(first.plan.duration / 2)


def test_caption_conditioning_reads_the_reply(nano: M2UGen) -> None:
    reply = nano.generate(ROCK, duration=4, seed=1, conditioning="caption")
    assert reply.audio is not None


def test_audio_states_carry_the_request(nano: M2UGen) -> None:
    rock, jazz, quartet = (
        attributes_from_conditioning(nano.conditioning(prompt, source="projected")[0].numpy())
        for prompt in (ROCK, "jazz trio with drums and saxophone", "a string quartet without drums")
    )
    assert rock.mode == "minor" and rock.genre == "rock"
    assert jazz.drums and {"drums", "saxophone"} <= set(jazz.instruments)
    assert quartet.drums is False


def test_words_of_the_reply_count_as_said(nano: M2UGen) -> None:
    decoder = nano.model.decoder
    silent = torch.zeros(1, *decoder.conditioning_shape)
    silent[..., 0] = 1.0
    found = attributes_from_conditioning(
        decoder.refine(silent, "Here is a jazz piece at 92 bpm with piano.")[0].numpy()
    )
    assert found.genre == "jazz" and found.tempo == pytest.approx(92, rel=0.05) and found.instruments == ("piano",)
    assert torch.equal(decoder.refine(silent, "Here is some music."), silent)


def test_all_modalities_together(nano: M2UGen) -> None:
    reply = nano.generate(
        "music for this", music=tone(), image=example("bright"), video=example("video"), duration=4, seed=0
    )
    assert reply.duration == pytest.approx(4, rel=0.01)


def test_the_video_gives_the_duration(nano: M2UGen) -> None:
    from m2ugen.media.video import load_video

    reply = nano.generate("a soundtrack", video=example("video"), seed=0)
    assert reply.duration == pytest.approx(load_video(example("video")).duration, rel=0.01)


def test_slower_changes_the_tempo_alone(nano: M2UGen) -> None:
    samples, rate = tone(3.0)
    reply = nano.edit("make it slower", (samples, rate), seed=0)
    assert reply.duration is not None and reply.duration > 3.2
    spectrum = np.abs(np.fft.rfft(reply.audio.mean(axis=0)))
    assert np.argmax(spectrum) * reply.sample_rate / reply.audio.shape[1] == pytest.approx(440, rel=0.01)


def test_adding_drums_to_composed_music_keeps_its_notes(nano: M2UGen) -> None:
    piece = nano.generate("a pop song with piano and bass, no drums", duration=8, seed=5)
    assert "drums" not in heard(piece.notes, piece.plan).instruments
    edited = nano.edit("add drums", piece, seed=5)
    assert "drums" in heard(edited.notes, edited.plan).instruments
    kept = {tuple(note) for note in edited.notes[edited.notes[:, 1] < len(piece.plan.parts)].tolist()}
    assert {tuple(note) for note in piece.notes.tolist()} <= kept


def test_chat_remembers_the_last_music(nano: M2UGen) -> None:
    chat = nano.chat(seed=1)
    made = chat.send("Write a happy country song with banjo", duration=5)
    assert made.audio is not None and chat.last_music is made
    edited = chat.send("make it slower")
    assert edited.audio is not None and edited.duration > made.duration
    for words in ("how fast is it?", "thanks"):  # "fast" asks for no edit, and courtesy for no music
        assert chat.send(words).audio is None and chat.last_music is edited
    chat.reset()
    assert chat.last_music is None and not chat.turns


def test_an_impossible_edit_says_what_is_possible(nano: M2UGen) -> None:
    with pytest.raises(InputError):
        nano.edit("qwertz", "no-such-file.wav")


@pytest.mark.parametrize("text", ["", "   ", "x" * 5000, 7])
def test_unusable_text_is_refused(text: object) -> None:
    with pytest.raises(InputError):
        checked_text(text)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_impossible_durations_are_refused(seconds: float) -> None:
    with pytest.raises(InputError):
        checked_duration(seconds, None)


def test_seeds() -> None:
    assert checked_seed(7) == 7
    assert 0 <= checked_seed(None) < 2**31
    with pytest.raises(InputError):
        checked_seed(-1)


def test_music_can_be_heard_while_it_is_written(nano: M2UGen) -> None:
    stream = nano.generate("a fast rock song with drums", stream=True, duration=40, seed=2)
    pieces = list(stream)
    assert len(pieces) > 1 and all(piece.shape[0] == 2 for piece in pieces)
    reply = stream.reply
    assert sum(piece.shape[-1] for piece in pieces) == reply.sound[0].shape[-1] == 40 * stream.sample_rate
    whole = nano.generate("a fast rock song with drums", duration=40, seed=2)
    assert np.array_equal(whole.sound[0], reply.sound[0])
    with pytest.raises(InputError):
        next(nano.generate("x", stream=True, duration=-1.0))


def test_what_cannot_be_played_is_said(nano: M2UGen) -> None:
    reply = nano.generate("a folk song with kazoo and vocals but no lyrics", duration=4, seed=1)
    assert reply.audio is not None
    assert reply.notices == ("no instrument here sounds like kazoo or vocals; the music goes without",)
    assert nano.generate("a piano piece without vocals", duration=4, seed=1).notices == ()


def test_directions_hold_to_the_letter(nano: M2UGen) -> None:
    directions = Directions.read(tempo=96, key="E minor", metre="3/4", chords="Em C,D Am")
    reply = nano.generate("a fast rock song in C major", duration=8, seed=2, directions=directions)
    plan = reply.plan
    assert plan is not None
    assert (plan.tempo, plan.tonic, plan.mode, plan.metre) == (96, 4, "minor", "3/4")
    assert [c.name(4) for c in plan.sections[0].chords[:1] if c is not None] == ["E:min"]
    assert reply.sound[0].shape[-1] == 8 * reply.sound[1]
    with pytest.raises(InputError, match="a plan has its own"):
        nano.generate("x", plan=plan, directions=directions)
