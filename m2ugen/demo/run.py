"""Runs every ability once and collects the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from m2ugen.demo.page import Card, write_page
from m2ugen.demo.pictures import piano_roll, spectrogram
from m2ugen.examples import example
from m2ugen.media.audio import MP3_BIT_RATE, load_audio, save_audio
from m2ugen.media.video import mux_audio
from m2ugen.pipeline import M2UGen
from m2ugen.reply import Reply

SEED = 7
QUESTIONS = ("Describe this music.", "Which instruments play?", "Are there drums?", "How fast is it?")
PROMPT = "a fast rock song with electric guitar, bass and drums in a minor key"
SECONDS = 15.0
LIGHT_BIT_RATE = 64_000  # of MP3, in bits per second


@dataclass
class Demo:
    """Writes the results of one model into ``folder`` and gathers the cards of the page."""

    model: M2UGen
    folder: Path
    title = "m2ugen: five abilities"
    light = False  # fit for the web: without lossless sound and spectrograms, files beside the page

    def steps(self) -> list[Callable[[], list[Card]]]:
        """What makes the cards, in order."""
        return [self._ask, self._from_text, self._from_pictures, self._from_video, self._edit]

    def run(self, progress: Callable[[str, float], None]) -> Path:
        """All steps; returns the path of the page. ``progress`` takes a label and a fraction 0-1."""
        start = time.perf_counter()
        steps = self.steps()
        cards: list[Card] = []
        for number, step in enumerate(steps):
            progress(step.__name__.strip("_").replace("_", " "), number / len(steps))
            cards += step()
        page = self.folder / "index.html"
        summary = f"{len(cards)} results, made in {time.perf_counter() - start:.0f} seconds on this machine."
        write_page(page, self.title, summary, cards, embed=not self.light)
        progress("done", 1.0)
        return page

    def _ask(self) -> list[Card]:
        music = example("music")
        answers = [f"{question} {self.model.ask(question, music=music).text}" for question in QUESTIONS]
        command = "\n".join(f'm2ugen ask "{question}" --music {music.name}' for question in QUESTIONS)
        return [Card("Questions about music", command, " · ".join(answers), given=[music])]

    def _from_text(self) -> list[Card]:
        reply = self.model.generate(PROMPT, duration=SECONDS, seed=SEED)
        return [self._card("Music from words", f'm2ugen generate "{PROMPT}"', "words", reply)]

    def _from_pictures(self) -> list[Card]:
        cards = []
        for name in ("bright", "dark"):
            picture = example(name)
            reply = self.model.generate("music for this picture", image=picture, duration=SECONDS, seed=SEED)
            command = f'm2ugen generate "music for this picture" --image {picture.name}'
            cards.append(self._card(f"Music from a {name} picture", command, f"picture-{name}", reply, [picture]))
        return cards

    def _from_video(self) -> list[Card]:
        video = example("video")
        reply = self.model.generate("a soundtrack for this video", video=video, seed=SEED)
        muxed = self.folder / "video-with-music.mp4"
        mux_audio(video, *reply.sound, muxed)
        command = f'm2ugen generate "a soundtrack for this video" --video {video.name} --mux {muxed.name}'
        card = self._card("Music from a video", command, "video", reply)
        card.video = muxed
        return [card]

    def _edit(self) -> list[Card]:
        music = example("music")
        cards = []
        for instruction, name in (("add drums", "edit-drums"), ("make it slower", "edit-slower")):
            reply = self.model.edit(instruction, music=music, seed=SEED)
            command = f'm2ugen edit "{instruction}" --music {music.name}'
            cards.append(self._card(f"Editing: {instruction}", command, name, reply, [music]))
        source = load_audio(music)
        save_audio(self.folder / "edit-source.wav", source.samples, source.sample_rate)
        return cards

    def _card(self, title: str, command: str, name: str, reply: Reply, given: list[Path] | None = None) -> Card:
        bit_rate = LIGHT_BIT_RATE if self.light else MP3_BIT_RATE
        listen = save_audio(self.folder / f"{name}.mp3", *reply.sound, bit_rate=bit_rate)
        card = Card(
            title,
            command,
            reply.text,
            plan=None if reply.plan is None else reply.plan.summary(),
            given=given or [],
            audio=listen,
        )
        if not self.light:
            reply.save(self.folder / f"{name}.wav")
            picture = self.folder / f"{name}-spectrogram.png"
            spectrogram(*reply.sound).save(picture)
            card.pictures.append(("spectrogram", picture))
        if reply.notes is not None and reply.plan is not None:
            card.midi = reply.save_midi(self.folder / f"{name}.mid")
            picture = self.folder / f"{name}-pianoroll.png"
            piano_roll(reply.notes, reply.plan).save(picture)
            card.pictures.append(("piano roll", picture))
        return card
