"""What nano's language model is taught: short exchanges about music, pictures and videos, with their targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from m2ugen.data.nano.language import captions, edits, prompts, questions
from m2ugen.data.nano.language.chat import sample_chat
from m2ugen.data.nano.pictures import sample_picture, sample_video
from m2ugen.data.nano.recordings import Recording, mosaic
from m2ugen.score.attributes import Attributes

STAGE_MIXES: dict[str, dict[str, float]] = {  # kind of exchange → share
    "encoder": {
        "question": 0.60,
        "caption": 0.03,
        "picture_caption": 0.02,
        "prompt": 0.11,
        "edit": 0.06,
        "picture": 0.10,
        "video": 0.06,
        "similar": 0.02,
    },
    "decoder": {"prompt": 0.75, "description": 0.25},
    "instruct": {
        "question": 0.42,
        "caption": 0.03,
        "prompt": 0.26,
        "description": 0.03,
        "edit": 0.09,
        "picture": 0.07,
        "video": 0.05,
        "picture_caption": 0.02,
        "similar": 0.03,
        "talk": 0.03,
        "own_words": 0.05,
        "plain": 0.06,
    },
}
FOLLOWED, GREETED = 0.25, 0.12  # chances that a question or an edit comes after something, a prompt after some talk
PLAIN = "plain"  # the kind of what is no exchange but text, to be read on as it stands
SIMILAR = (
    "Make something like this.",
    "Write a new piece in this style.",
    "another one like this please",
    "Compose music similar to what you hear",
)


@dataclass(frozen=True)
class Earlier:
    """An exchange before the one to learn; ``attached`` says that it was about the same media, ``makes_music`` that
    the answer was music.
    """

    user: str
    reply: str
    attached: bool = True
    makes_music: bool = False


@dataclass(frozen=True)
class Dialogue:
    """One exchange: the user's words, the answer, what music follows it, and the attached features.

    ``target`` is the conditioning [NUM_SLOTS, SLOT_DIM] that the [AUD] tokens must carry, or None when the answer
    is text only; features are float32 [tokens, dim] of nano's encoders. ``earlier`` is what was said before.
    """

    kind: str
    user: str
    reply: str
    target: np.ndarray | None = None
    music: np.ndarray | None = None
    image: np.ndarray | None = None
    video: np.ndarray | None = None
    earlier: tuple[Earlier, ...] = ()

    @property
    def attached(self) -> tuple[str, ...]:
        return tuple(name for name in ("music", "image", "video") if getattr(self, name) is not None)


class DialogueSource:
    """An endless, indexed supply: exchange ``index`` depends on the seed and the index alone.

    ``recordings`` give music with its truth, ``pieces`` the attributes of real arrangements to ask for,
    ``descriptions`` people's own texts about music, ``own_words`` what the language model said before, and ``passages``
    plain text (these three may be empty). ``mosaics`` is the share of recordings that are put together from several.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        pieces: Sequence[Attributes],
        descriptions: Sequence[str],
        mix: Mapping[str, float],
        seed: int,
        mosaics: float = 0.0,
        own_words: Sequence[tuple[str, str]] = (),
        passages: Sequence[str] = (),
    ) -> None:
        texts = {"description": descriptions, "own_words": own_words, PLAIN: passages}
        missing = {kind for kind, given in texts.items() if not given}
        usable = {kind: share for kind, share in mix.items() if kind not in missing}
        self.recordings, self.pieces, self.descriptions = recordings, pieces, descriptions
        self.own_words, self.passages = own_words, passages
        self.kinds = tuple(usable)
        self.shares = np.array(list(usable.values())) / sum(usable.values())
        self.seed, self.mosaics = seed, mosaics

    def sample(self, index: int) -> Dialogue:
        rng = np.random.default_rng((self.seed, index))
        kind = self.kinds[rng.choice(len(self.kinds), p=self.shares)]
        return getattr(self, f"_{kind}")(rng)

    def _recording(self, rng: np.random.Generator) -> Recording:
        if self.mosaics and rng.random() < self.mosaics:
            return mosaic(self.recordings, rng)
        return self.recordings[int(rng.integers(len(self.recordings)))]

    def _question(self, rng: np.random.Generator) -> Dialogue:
        recording = self._recording(rng)
        if rng.random() >= FOLLOWED:
            asked = questions.sample_question(rng, recording.attributes, recording.extras)
            return Dialogue("question", *asked, music=recording.features)
        asked = questions.sample_follow_up(rng, recording.attributes, recording.extras)
        return Dialogue("question", *asked, music=recording.features, earlier=(self._before(recording, rng),))

    def _before(self, recording: Recording, rng: np.random.Generator) -> Earlier:
        """What may have been said before a question or an edit: another question, or the request for this music."""
        if rng.random() < 0.5:
            return Earlier(*questions.sample_question(rng, recording.attributes, recording.extras))
        prompt, _, reply = prompts.sample_prompt(rng, recording.attributes)
        return Earlier(prompt, reply, attached=False, makes_music=True)

    def _caption(self, rng: np.random.Generator) -> Dialogue:
        recording = self._recording(rng)
        question, answer = captions.sample_caption_request(rng, recording.attributes)
        return Dialogue("caption", question, answer, music=recording.features)

    def _prompt(self, rng: np.random.Generator) -> Dialogue:
        prompt, asked, reply = prompts.sample_prompt(rng, self.pieces[int(rng.integers(len(self.pieces)))])
        earlier = (Earlier(*sample_chat(rng)),) if rng.random() < GREETED else ()
        return Dialogue("prompt", prompt, reply, target=asked.to_conditioning(), earlier=earlier)

    def _description(self, rng: np.random.Generator) -> Dialogue:
        text = self.descriptions[int(rng.integers(len(self.descriptions)))]
        prompt, asked, reply = prompts.prompt_from_description(rng, text)
        return Dialogue("description", prompt, reply, target=asked.to_conditioning())

    def _talk(self, rng: np.random.Generator) -> Dialogue:
        earlier = (Earlier(*sample_chat(rng)),) if rng.random() < FOLLOWED else ()
        return Dialogue("talk", *sample_chat(rng), earlier=earlier)

    def _own_words(self, rng: np.random.Generator) -> Dialogue:
        return Dialogue("own_words", *self.own_words[int(rng.integers(len(self.own_words)))])

    def _plain(self, rng: np.random.Generator) -> Dialogue:
        return Dialogue(PLAIN, "", self.passages[int(rng.integers(len(self.passages)))])

    def _edit(self, rng: np.random.Generator) -> Dialogue:
        recording = self._recording(rng)
        instruction, phrase, target = edits.sample_edit(rng, recording.attributes)
        earlier = (self._before(recording, rng),) if rng.random() < FOLLOWED else ()
        matrix = target.to_conditioning()
        return Dialogue("edit", instruction, phrase, target=matrix, music=recording.features, earlier=earlier)

    def _similar(self, rng: np.random.Generator) -> Dialogue:
        recording = self._recording(rng)
        reply = prompts.reply_for(rng, recording.attributes)
        target = recording.attributes.to_conditioning()
        return Dialogue("similar", SIMILAR[rng.integers(len(SIMILAR))], reply, target=target, music=recording.features)

    def _picture(self, rng: np.random.Generator) -> Dialogue:
        features, attributes, _ = sample_picture(rng)
        prompt, reply = prompts.sample_picture_prompt(rng, attributes, "image")
        return Dialogue("picture", prompt, reply, target=attributes.to_conditioning(), image=features)

    def _video(self, rng: np.random.Generator) -> Dialogue:
        features, attributes, _ = sample_video(rng)
        prompt, reply = prompts.sample_picture_prompt(rng, attributes, "video")
        return Dialogue("video", prompt, reply, target=attributes.to_conditioning(), video=features)

    def _picture_caption(self, rng: np.random.Generator) -> Dialogue:
        moving = rng.random() < 0.4
        features, _, words = (sample_video if moving else sample_picture)(rng)
        question, answer = captions.sample_picture_caption(rng, words, "video" if moving else "image")
        if moving:
            return Dialogue("picture_caption", question, answer, video=features)
        return Dialogue("picture_caption", question, answer, image=features)
