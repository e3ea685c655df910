"""The processor takes every form of every medium, and its cache changes nothing but the time."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from m2ugen.errors import InputError, MissingWeights
from m2ugen.media.audio import save_audio
from m2ugen.media.video import Frames
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.prompting import AUDIO_TOKENS, Turn
from m2ugen.processor import FeatureCache, M2UGenProcessor, content_hash
from m2ugen.reply import Reply


class TinyEncoder(torch.nn.Module):
    """Mean and deviation of the input, projected."""

    def __init__(self, sample_rate: int = 8_000, num_frames: int = 4, seed: int = 0) -> None:
        super().__init__()
        self.num_tokens, self.dim, self.calls = 1, 3, 0
        self.sample_rate, self.num_frames = sample_rate, num_frames
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(torch.randn(2, 3, generator=generator))

    def prepare(self, media: Any) -> dict[str, torch.Tensor]:
        self.last = media
        array = np.asarray(media.array if isinstance(media, Frames) else media, dtype=np.float32)
        return {"values": torch.from_numpy(array).flatten()}

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return (torch.stack([values.mean(-1), values.std(-1)], dim=-1) @ self.weight)[:, None]


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {character: k for k, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    plain = Tokenizer(models.BPE(vocabulary, []))
    plain.pre_tokenizer, plain.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<|im_end|>", bos_token="<|im_start|>")


@pytest.fixture
def processor(tmp_path: Path) -> M2UGenProcessor:
    encoders = {name: TinyEncoder() for name in ("music", "image", "video")}
    assert all(isinstance(encoder, Encoder) for encoder in encoders.values())
    return M2UGenProcessor(tokenizer(), encoders, FeatureCache(tmp_path / "cache"))


MUSIC = (np.sin(np.arange(16_000) / 20).astype(np.float32), 16_000)
PICTURE = Image.new("RGB", (6, 4), (10, 200, 30))
VIDEO = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), dtype=np.uint8)


def test_all_modalities_together(processor: M2UGenProcessor) -> None:
    inputs = processor("What is this?", music=MUSIC, image=PICTURE, video=VIDEO)
    assert inputs["input_ids"].shape == inputs["attention_mask"].shape
    text = processor.tokenizer.decode(inputs["input_ids"][0])
    assert text.startswith("<|im_start|>user\n<music> <image> <video> What is this?<|im_end|>")
    assert inputs["music"]["values"].shape == (1, 8_000)  # at the encoder's rate
    assert inputs["image"]["values"].shape == (1, 4 * 6 * 3)
    assert inputs["video"]["values"].shape == (1, 4 * 4 * 6 * 3)
    assert processor.encoders["video"].last.array[:, 0, 0, 0].tolist() == [2, 7, 12, 17]  # type: ignore[attr-defined]


class TellingEncoder(TinyEncoder):
    def describe(self, hidden_states: np.ndarray) -> str:
        return f"{len(hidden_states)} token"


def test_what_an_encoder_finds_is_told_in_words(tmp_path: Path) -> None:
    music = TellingEncoder()
    encoders = {"music": music, "image": TinyEncoder()}
    processor = M2UGenProcessor(tokenizer(), encoders, describers={"music": music.describe})
    processor.save_pretrained(tmp_path)
    for each in (processor, M2UGenProcessor.from_pretrained(tmp_path, encoders)):
        turns = [Turn("Hello", reply="Hi"), Turn("What is this?", ("music", "image"))]
        inputs = each(turns, music=MUSIC, image=PICTURE)
        text = each.tokenizer.decode(inputs["input_ids"][0])
        assert "user\n<music: 1 token> <image> What is this?" in text


def test_batches_are_padded_on_the_left_and_conversations_are_one_prompt(processor: M2UGenProcessor) -> None:
    inputs = processor(["Hi", "A longer question"])
    assert inputs["attention_mask"][0, 0] == 0 and (inputs["attention_mask"][:, -1] == 1).all()
    turns = [Turn("Make music", (), "Here it is.", makes_music=True), Turn("Slower")]
    text = processor.tokenizer.decode(processor(turns)["input_ids"][0])
    assert "".join(AUDIO_TOKENS) in text and text.endswith("<|im_start|>assistant\n")


def test_audio_tokens_are_single_tokens_that_follow_the_vocabulary(processor: M2UGenProcessor) -> None:
    ids = processor.tokenizer.convert_tokens_to_ids(list(AUDIO_TOKENS))
    assert ids == list(range(ids[0], ids[0] + 8)) and ids[-1] == len(processor.tokenizer) - 1
    assert processor.decode(torch.tensor(ids)) == ""


def test_sources_of_every_form_are_the_same_content(processor: M2UGenProcessor, tmp_path: Path) -> None:
    path = save_audio(tmp_path / "a.wav", *MUSIC)
    reply = Reply("made", audio=processor.load(music=path).music.samples, sample_rate=16_000)  # type: ignore[union-attr]
    results = [
        processor.encode(processor.load(music=source))["music"]
        for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), reply)
    ]
    assert all(torch.equal(results[0], result) for result in results)
    assert processor.encoders["music"].calls == 1  # type: ignore[attr-defined]
    assert processor.load(music=reply).reply is reply


def test_the_cache_gives_what_the_encoder_gives(processor: M2UGenProcessor) -> None:
    loaded = processor.load(music=MUSIC, image=PICTURE, video=VIDEO)
    first, second = processor.encode(loaded), processor.encode(loaded)
    plain = M2UGenProcessor(processor.tokenizer, processor.encoders).encode(loaded)
    for name in ("music", "image", "video"):
        assert first[name].shape == (1, 1, 3)
        assert torch.equal(first[name], second[name]) and torch.equal(first[name], plain[name])
    assert loaded.video_duration == pytest.approx(0.8) and loaded.attached == ("music", "image", "video")


def test_other_weights_do_not_meet_the_same_cache(processor: M2UGenProcessor) -> None:
    loaded = processor.load(image=PICTURE)
    first = processor.encode(loaded)["image"]
    other = M2UGenProcessor(processor.tokenizer, {"image": TinyEncoder(seed=1)}, processor.cache)
    assert not torch.equal(other.encode(loaded)["image"], first)
    assert len(list(processor.cache.folder.iterdir())) == 2  # type: ignore[union-attr]


def test_damaged_and_unwritable_caches_do_no_harm(processor: M2UGenProcessor, tmp_path: Path) -> None:
    loaded = processor.load(image=PICTURE)
    expected = processor.encode(loaded)["image"]
    for entry in processor.cache.folder.iterdir():  # type: ignore[union-attr]
        entry.write_bytes(b"damaged")
    assert torch.equal(processor.encode(loaded)["image"], expected)
    (tmp_path / "file").write_text("no folder")
    blocked = M2UGenProcessor(processor.tokenizer, processor.encoders, FeatureCache(tmp_path / "file"))
    assert torch.equal(blocked.encode(loaded)["image"], expected)


def test_the_cache_keeps_its_size(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, max_entries=3)
    for k in range(6):
        cache.put(str(k), torch.full((1, 2), float(k)))
    assert len(list(tmp_path.iterdir())) == 3
    assert cache.get("none") is None


def test_saving_and_loading(processor: M2UGenProcessor, tmp_path: Path) -> None:
    processor.save_pretrained(tmp_path / "saved")
    again = M2UGenProcessor.from_pretrained(tmp_path / "saved", processor.encoders)
    question = "Which key?"
    assert torch.equal(again(question)["input_ids"], processor(question)["input_ids"])
    assert len(again.tokenizer) == len(processor.tokenizer)
    with pytest.raises(MissingWeights):
        M2UGenProcessor.from_pretrained(tmp_path)
    (tmp_path / "saved" / "m2ugen_processor.json").write_text('{"version": 99}')
    with pytest.raises(InputError, match="version 99"):
        M2UGenProcessor.from_pretrained(tmp_path / "saved")


def test_what_the_model_does_not_understand_is_refused(processor: M2UGenProcessor) -> None:
    del processor.encoders["video"]
    with pytest.raises(InputError, match="does not understand video"):
        processor("?", video=VIDEO)
    with pytest.raises(InputError, match="no audio"):
        processor.load(music=Reply("only words"))
    for text in ([], [3], None):
        with pytest.raises(InputError, match="text must be"):
            processor(text)  # type: ignore[arg-type]


def test_content_hashes_tell_contents_apart() -> None:
    zeros = np.zeros((2, 3), dtype=np.float32)
    assert content_hash(zeros) == content_hash(zeros.copy())
    assert len({content_hash(zeros), content_hash(zeros.T), content_hash(zeros.astype(np.float64))}) == 3
    slow, fast = (Frames(VIDEO, np.arange(20) / fps, 20 / fps, fps) for fps in (5.0, 25.0))
    assert content_hash(slow) != content_hash(fast)
