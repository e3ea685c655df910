"""ask, generate, edit, chat: read this file top to bottom and you know the system.

Every request takes the same way: files → processor → encoders → adapters → language model → reply; music takes
the further step [AUD] states → output projector → conditioning → music decoder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from m2ugen.checks import MAX_DURATION, MAX_SEED, checked_duration, checked_seed, checked_text
from m2ugen.errors import InputError
from m2ugen.model.decoders.base import Music, OnAudio, Player, Progress
from m2ugen.model.doubts import Doubtful, doubts
from m2ugen.model.encoders.base import Listening
from m2ugen.model.generation import Sampling, StopText, TextStream, generate
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.prompting import FORMATS, Turn, encode_prompt, findings
from m2ugen.model.requests import wants_words
from m2ugen.model.soundtrack import follow_clip
from m2ugen.processor import LoadedMedia, M2UGenProcessor, joined
from m2ugen.reply import Reply
from m2ugen.score.attributes import NUM_SLOTS, SLOT_DIM, Attributes, attributes_from_conditioning
from m2ugen.score.soundfont import soundfont_path
from m2ugen.startup import nothing_collected
from m2ugen.streaming import MusicStream

if TYPE_CHECKING:
    from m2ugen.edit.command import EditCommand
    from m2ugen.score.directions import Directions
    from m2ugen.score.plan import Plan

Source = Literal["refined", "projected", "caption"]  # of the decoder's conditioning
Edit = Literal["never", "auto", "always"]  # whether a request changes the attached music
MAX_TURNS = 6  # earlier turns that the language model is shown
TALK_PENALTY = 1.03  # for tokens that were said, where nothing is talked about that could be heard or seen


@dataclass
class Understanding:
    """What the language model made of a request: its words and, when music is to follow, the conditioning.

    ``conditioning`` is [1, N, D], or None when the answer is words alone; ``turn`` is the user's, with what was found
    in the attachments. ``tokens`` counts those of the prompt and those that were written; ``doubts`` tell where the
    answer may be wrong because the music was hard to hear; ``heard`` is what attached music is like, where the encoder
    can say so.
    """

    text: str
    conditioning: torch.Tensor | None
    turn: Turn
    tokens: tuple[int, int] = (0, 0)
    doubts: tuple[str, ...] = ()
    heard: Attributes | None = None


class M2UGen:
    """A model with its processor, ready to use.

    >>> model = M2UGen.from_pretrained("nano")
    >>> model.ask("Which instruments play?", music="song.ogg").text
    >>> model.generate("a calm piano piece", duration=20, seed=7).save("calm.wav")
    """

    def __init__(self, model: M2UGenModel, processor: M2UGenProcessor) -> None:
        self.model = model.eval()
        self.processor = processor

    @classmethod
    @nothing_collected()
    def from_pretrained(cls, name: str | Path = "nano", soundfont: str | Path | None = None, **options: Any) -> M2UGen:
        """Load a preset, a folder written by ``save_pretrained``, or a hub id.

        ``options`` go to M2UGenModel.from_pretrained (device, dtype, quantise). Raises InputError when the
        name means nothing and MissingWeights when weights are not on this machine.
        """
        model = M2UGenModel.load(name, **options)
        if soundfont is not None:
            if not hasattr(model.decoder, "soundfont"):
                raise InputError(f"{name} plays no notes, so it takes no SoundFont")
            model.decoder.soundfont = soundfont_path(soundfont)
        return cls(model, M2UGenProcessor.from_model(model))

    def ask(
        self,
        question: str,
        music: Any = None,
        image: Any = None,
        video: Any = None,
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> Reply:
        """Answer ``question`` in words, about the attached media if there are any.

        Media may be paths, bytes, file objects, PIL images, or (array, sample rate) pairs. ``temperature`` 0 is
        greedy; ``on_text`` receives the answer piece by piece. Raises InputError for unusable input.
        """
        start = time.perf_counter()
        loaded = self.processor.load(music=music, image=image, video=video)
        turn = Turn(checked_text(question), loaded.attached)
        sampling = replace(in_words(loaded), max_new_tokens=max_new_tokens, temperature=temperature)
        understood = self._understand([turn], loaded, sampling, seed, on_text)
        return words_reply(understood, seed, start)

    @overload
    def generate(
        self,
        prompt: str,
        music: Any = None,
        image: Any = None,
        video: Any = None,
        duration: float | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        plan: Plan | None = None,
        directions: Directions | None = None,
        conditioning: Source = "refined",
        progress: Progress | None = None,
        on_audio: OnAudio | None = None,
    ) -> Reply: ...

    @overload  # with the same options
    def generate(self, prompt: str, *, stream: Literal[True], **options: Any) -> MusicStream: ...

    def generate(  # type: ignore[misc]
        self,
        prompt: str,
        music: Any = None,
        image: Any = None,
        video: Any = None,
        duration: float | None = None,
        seed: int | None = None,
        guidance_scale: float | None = None,
        plan: Plan | None = None,
        directions: Directions | None = None,
        conditioning: Source = "refined",
        progress: Progress | None = None,
        on_audio: OnAudio | None = None,
        stream: bool = False,
    ) -> Reply | MusicStream:
        """Make ``duration`` seconds of music (default: the video's length, else 30).

        ``plan`` is played instead of one that the decoder would write. ``directions`` hold tempo, key, metre and chords
        to the letter, whatever the prompt says. ``conditioning`` is "projected" (the [AUD]
        states alone drive the decoder), "refined" (what the request, or else the reply, says in so many words, a tempo
        say, counts as said; the [AUD] states decide the rest; the same as "projected" for a decoder that cannot do
        this) or "caption" (the decoder's own text encoder reads the reply, as in the published implementation).
        Without ``seed`` a random one is drawn and reported. ``on_audio`` receives the sound, float32 [channels, any],
        piece by piece while the rest is still being written, if the decoder composes; else all of it at the end. With
        ``stream`` the pieces can be iterated over, and the reply comes last:

        >>> stream = model.generate("a calm piano piece", duration=60, stream=True)
        >>> for piece in stream:
        ...     device.write(piece.T)
        >>> stream.reply.save("calm.wav")

        Raises InputError.
        """
        if stream:
            self.need_decoder()
            given = (music, image, video, duration, seed, guidance_scale, plan, directions, conditioning, progress)
            make: Callable[[OnAudio], Reply] = partial(self.generate, prompt, *given)
            return MusicStream(make, self.model.decoder.sample_rate)
        start = time.perf_counter()
        self.need_decoder()
        seed = checked_seed(seed)
        loaded = self.processor.load(music=music, image=image, video=video)
        duration = checked_duration(duration, loaded.video_duration)
        options: dict[str, Any] = {"guidance_scale": guidance_scale}
        plays = isinstance(self.model.decoder, Player)
        if on_audio is not None and plays:
            options["on_audio"] = on_audio
        if (plan is not None or directions) and not plays:
            raise InputError("this model takes no plan, tempo, key or chords: its music decoder makes sound, not notes")
        if plan is not None and directions:
            raise InputError("a plan has its own tempo, key, metre and chords: change them there")
        if plan is not None:
            options["plan"] = plan
        if directions:
            options["directions"] = directions
        turn = Turn(checked_text(prompt), loaded.attached)
        understood = self._understand([turn], loaded, Sampling(audio="always"), seed)
        reply = self.carry_out(understood, loaded, seed, "never", duration, start, progress, conditioning, **options)
        if on_audio is not None and not plays:
            on_audio(reply.sound[0])
        return reply

    def edit(self, instruction: str, music: Any, seed: int | None = None, progress: Progress | None = None) -> Reply:
        """Change ``music`` as ``instruction`` says and keep the rest.

        ``music`` is anything that ``ask`` takes, or a Reply of this model, whose score makes the edit exact. A model
        whose decoder makes sound and no notes makes new music where an edit needs new notes: along the tune of
        ``music`` if the decoder takes a melody, else (as in the published implementation) from the instruction alone.
        Raises InputError when the music cannot be used or the instruction is not an edit that can be done.
        """
        start = time.perf_counter()
        self.need_decoder()
        seed = checked_seed(seed)
        loaded = self.processor.load(music=music)
        turn = Turn(checked_text(instruction), loaded.attached)
        understood = self._understand([turn], loaded, Sampling(audio="always"), seed)
        return self.carry_out(understood, loaded, seed, "always", start=start, progress=progress)

    def chat(self, seed: int | None = None) -> Chat:
        """A conversation that remembers its turns and the last music."""
        return Chat(self, checked_seed(seed))

    def conditioning(
        self, prompt: str, music: Any = None, image: Any = None, video: Any = None, source: Source = "refined"
    ) -> torch.Tensor:
        """The decoder's conditioning [1, N, D] that a request leads to, without making the music; ``source`` as
        ``conditioning`` of ``generate``.
        """
        self.need_decoder()
        loaded = self.processor.load(music=music, image=image, video=video)
        turn = Turn(checked_text(prompt), loaded.attached)
        understood = self._understand([turn], loaded, Sampling(audio="always"), None)
        return self._conditioning(understood, source)

    def parts(self) -> dict[str, torch.nn.Module]:
        """The parts of the model by name, those that it has."""
        model = self.model
        parts = {
            **{f"{name} encoder": model.encoders[name] for name in model.config.modalities},
            "adapters": model.adapters,
            "language model": model.language_model,
            "output projector": model.projector,
            "music decoder": model.decoder,
        }
        return {name: part for name, part in parts.items() if part is not None}

    @torch.inference_mode()
    def understand(
        self,
        conversations: Sequence[tuple[Sequence[Turn], LoadedMedia]],
        sampling: Sampling,
        seed: int | None = None,
        on_text: Callable[[int, str], None] | None = None,
    ) -> list[Understanding]:
        """Encode the attachments, let the language model answer the last turns, project its [AUD] states.

        The conversations, each with what is attached to its last turn, are answered together. ``on_text`` receives
        the number of a conversation and the next piece of its answer. Raises InputError for media that the model does
        not understand.

        What a question asks about a place in the music is measured there and not left to the language model (see
        m2ugen.model.passages), where an answer in words is all that is wanted.
        """
        from m2ugen.model import passages

        if sampling.audio != "never":
            return self._write(conversations, sampling, seed, on_text)
        ear = self.parts().get("music encoder")
        measured: dict[int, Understanding] = {}
        for row, (turns, loaded) in enumerate(conversations):
            if (said := passages.answer(turns[-1].user, loaded, ear)) is not None:
                measured[row] = Understanding(said, None, turns[-1])
                if on_text is not None:
                    on_text(row, said)
        left = [row for row in range(len(conversations)) if row not in measured]
        told = None if on_text is None else lambda row, piece: on_text(left[row], piece)
        written = iter(self._write([conversations[row] for row in left], sampling, seed, told) if left else ())
        return [measured[row] if row in measured else next(written) for row in range(len(conversations))]

    def _write(
        self,
        conversations: Sequence[tuple[Sequence[Turn], LoadedMedia]],
        sampling: Sampling,
        seed: int | None,
        on_text: Callable[[int, str], None] | None,
    ) -> list[Understanding]:
        """What the language model writes and thinks of."""
        model, tokenizer = self.model, self.processor.tokenizer
        encoded = [self.processor.encode(loaded) for _, loaded in conversations]
        features, present = joined(encoded)
        layout = model.config.prompt_format
        told = [findings(self.processor.describers, hidden) for hidden in encoded]
        asked = [replace(turns[-1], found=found) for (turns, _), found in zip(conversations, told)]
        prompts = [
            encode_prompt(tokenizer, [*turns[:-1], last], layout) for (turns, _), last in zip(conversations, asked)
        ]
        ends = StopText(tokenizer, FORMATS[layout].stop_strings)
        streams = [
            TextStream(self.processor.decode, partial(on_text, row), ends.strings)
            for row in range(len(prompts))
            if on_text is not None
        ]
        written = generate(
            model.language_model,
            prompts,
            model.adapter_states(features, present),
            sampling,
            stop_ids=model.stop_ids,
            generator=None if seed is None else torch.Generator().manual_seed(seed),
            on_token=(lambda row, token: streams[row](row, token)) if streams else None,
            stop_text=ends,
        )
        for stream in streams:
            stream.close()
        states = written.audio_states
        conditioning = iter(()) if states is None else iter(model.conditioning(states).split(1))
        return [
            Understanding(
                ends.cut(self.processor.decode(tokens)),
                next(conditioning) if has_audio else None,
                last,
                (len(prompt), len(tokens)),
                self._doubts(last.user, hidden),
                self._heard(hidden),
            )
            for tokens, has_audio, prompt, last, hidden in zip(
                written.tokens, written.has_audio, prompts, asked, encoded
            )
        ]

    def _doubts(self, question: str, features: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
        """What of the music that ``question`` asks for the music encoder is unsure of."""
        ear = self.parts().get("music encoder")
        if "music" not in features or not isinstance(ear, Doubtful):
            return ()
        return doubts(question, ear.confidence(features["music"][0].float().cpu().numpy()))

    def _heard(self, features: Mapping[str, torch.Tensor]) -> Attributes | None:
        """What the attached music is like."""
        ear = self.parts().get("music encoder")
        if "music" not in features or not isinstance(ear, Listening):
            return None
        return ear.likeliest(features["music"][0].float().cpu().numpy())

    def carry_out(
        self,
        understood: Understanding,
        loaded: LoadedMedia,
        seed: int,
        edit: Edit = "never",
        duration: float | None = None,
        start: float | None = None,
        progress: Progress | None = None,
        conditioning: Source = "refined",
        **options: Any,
    ) -> Reply:
        """The answer itself: words, new music, or a changed version of the attached music.

        ``edit`` says whether a request may be one to change the attached music, or must be. ``start`` is the clock
        reading (time.perf_counter) when the request came; ``options`` go to the decoder's ``generate``. Raises
        InputError.
        """
        from m2ugen.edit.apply import find_command, resolve

        start = time.perf_counter() if start is None else start
        if edit == "always" or (edit == "auto" and loaded.music is not None and self.model.decoder is not None):
            must = edit == "always" and isinstance(self.model.decoder, Player)
            command = (resolve if must else find_command)(understood.turn.user, understood.text)
            if command is not None or edit == "always":
                return self._edit(command, understood, loaded, seed, start, progress)
        if understood.conditioning is None:
            return words_reply(understood, seed, start)
        length = checked_duration(duration, loaded.video_duration)
        if loaded.motion is not None and options.get("plan") is None and isinstance(self.model.decoder, Player):
            options["arrange"] = partial(follow_clip, clip=loaded.motion)
        return self._compose(understood, length, seed, start, progress, conditioning, **options)

    def _understand(
        self,
        turns: Sequence[Turn],
        loaded: LoadedMedia,
        sampling: Sampling,
        seed: int | None,
        on_text: Callable[[str], None] | None = None,
    ) -> Understanding:
        told = None if on_text is None else lambda _, piece: on_text(piece)
        return self.understand([(turns, loaded)], sampling, seed, told)[0]

    def need_decoder(self) -> None:
        """Raises InputError for a model that makes no music."""
        if self.model.decoder is None:
            raise InputError("this model answers in words only and makes no music; use ask, or another model")

    def _conditioning(self, understood: Understanding, source: Source) -> torch.Tensor:
        """What drives the decoder, [1, N, D]."""
        state, decoder = understood.conditioning, self.model.decoder
        assert state is not None  # its callers asked for music
        if source == "caption":
            return torch.as_tensor(decoder.encode_text([understood.text]))
        if source == "refined" and hasattr(decoder, "refine"):
            return torch.as_tensor(decoder.refine(state, understood.text, understood.turn.user))
        if source not in ("projected", "refined"):
            raise InputError(f"conditioning must be 'refined', 'projected' or 'caption', not {source!r}")
        return state

    def _compose(
        self,
        understood: Understanding,
        duration: float,
        seed: int,
        start: float,
        progress: Progress | None,
        conditioning: Source = "refined",
        directions: Directions | None = None,
        **options: Any,
    ) -> Reply:
        decoder = self.model.decoder
        state = self._conditioning(understood, conditioning)
        if directions is not None:
            state = torch.from_numpy(directions.steer(state[0].float().cpu().numpy()))[None]
            led = options.get("arrange", lambda plan: plan)
            options["arrange"] = lambda plan: directions.arrange(led(plan), duration)
        listened = time.perf_counter()
        music = decoder.generate(state, duration, seed=seed, progress=progress, **options)
        reply = music_reply(understood.text, music, seed, start, listened)
        if hasattr(decoder, "notices"):
            reply.notices = decoder.notices(understood.turn.user)
        return reply

    def _edit(
        self,
        command: EditCommand | None,
        understood: Understanding,
        loaded: LoadedMedia,
        seed: int,
        start: float,
        progress: Progress | None,
    ) -> Reply:
        from m2ugen.edit.apply import NEW_NOTES, apply_edit

        source, decoder, target = source_music(loaded), self.model.decoder, None
        player = decoder if isinstance(decoder, Player) else None
        if player is None and (command is None or command.operation in NEW_NOTES):
            melody = (source.audio, source.sample_rate) if getattr(decoder, "takes_melody", False) else None
            length = checked_duration(min(source.audio.shape[-1] / source.sample_rate, MAX_DURATION), None)
            return self._compose(understood, length, seed, start, progress, melody=melody)
        if understood.conditioning is not None and decoder.conditioning_shape == (NUM_SLOTS, SLOT_DIM):
            target = attributes_from_conditioning(understood.conditioning[0].float().cpu().numpy())
        assert command is not None  # a decoder that composes gets resolved commands only
        listened = time.perf_counter()
        midi = None if loaded.music is None else loaded.music.score
        music = apply_edit(command, source, player, target, seed, progress, midi, understood.heard)
        return music_reply(command.phrase(), music, seed, start, listened)


@dataclass
class Chat:
    """A conversation. The last music, made or attached, is what the next turn may refer to."""

    model: M2UGen
    seed: int
    turns: list[Turn] = field(default_factory=list)
    last_music: Reply | None = None
    _attached_music: Any = None

    def reset(self) -> None:
        """Forget everything that was said and made."""
        self.turns.clear()
        self.last_music = self._attached_music = None

    def send(
        self,
        message: str,
        music: Any = None,
        image: Any = None,
        video: Any = None,
        duration: float | None = None,
        progress: Progress | None = None,
    ) -> Reply:
        """Answer one message: in words, with new music, or with a changed version of the last music.

        An answer that goes on with the [AUD] tokens makes music. One that opens with the sentence of an edit changes
        the last music, and so does a message that is plainly an edit. A question by its form, or a greeting, is
        answered in words whatever the model thinks. Raises InputError; a message that failed leaves the conversation
        as it was.
        """
        start = time.perf_counter()
        source = music if music is not None else self._attached_music
        loaded = self.model.processor.load(music=source, image=image, video=video)
        turn = Turn(checked_text(message), loaded.attached)
        turns = [*self.turns[-MAX_TURNS:], turn]
        words = self.model.model.decoder is None or wants_words(turn.user)
        sampling = in_words(loaded) if words else Sampling(audio="auto")
        understood = self.model._understand(turns, loaded, sampling, self.seed)
        edit: Edit = "never" if words else "auto"
        reply = self.model.carry_out(understood, loaded, self.seed, edit, duration, start, progress)
        made = reply.audio is not None
        self.turns.append(replace(understood.turn, reply=understood.text, makes_music=made))
        if made:
            self.last_music, self._attached_music = reply, reply
            self.seed = (self.seed + 1) % MAX_SEED
        elif music is not None:
            self._attached_music = music
        return reply


def in_words(loaded: LoadedMedia) -> Sampling:
    """How an answer in words is written. About media it says what was found; free talk of a small model would go round
    in circles.
    """
    return Sampling(audio="never", repetition_penalty=1.0 if loaded.attached else TALK_PENALTY, stop_circles=True)


def source_music(loaded: LoadedMedia) -> Music:
    """The attached music; what this model composed keeps its plan and notes."""
    if loaded.music is None:
        raise InputError("there is no music to edit; attach a file")
    reply = loaded.reply
    if reply is not None:
        return Music(loaded.music.samples, loaded.music.sample_rate, reply.plan, reply.notes, reply.stems)
    return Music(loaded.music.samples, loaded.music.sample_rate)


def words_reply(understood: Understanding, seed: int | None, start: float) -> Reply:
    """An answer in words alone to a request that came at ``start`` (of time.perf_counter)."""
    total = time.perf_counter() - start
    times = {"understand": total, "total": total}
    return Reply(understood.text, seed=seed, seconds=times, notices=understood.doubts)


def music_reply(text: str, music: Music, seed: int, start: float, listened: float) -> Reply:
    """The reply with ``music``; ``start`` and ``listened`` are clock readings (time.perf_counter)."""
    now = time.perf_counter()
    seconds = {"understand": listened - start, "generate": now - listened, "total": now - start}
    return Reply(text, music.audio, music.sample_rate, music.plan, music.notes, music.stems, seed, seconds)
