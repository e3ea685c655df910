"""nano's music encoder: measured features on sounds whose answer is known, and the encoder's shape and symmetries."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from m2ugen.errors import MissingWeights
from m2ugen.model.encoders import front_end
from m2ugen.model.encoders.base import Encoder
from m2ugen.model.encoders.beat_key_net import TAGGER_DIM
from m2ugen.model.encoders.ear import GENRE_SHARES, HEADS, STRUCK_SHARE, Ear
from m2ugen.model.encoders.musicnn import NUM_MELS, PATCH_FRAMES, Musicnn
from m2ugen.model.encoders.nano_music import MAX_PATCHES, NanoMusicEncoder, sounding
from m2ugen.model.encoders.timbre import TIMBRE_DIM, TimbreNet
from m2ugen.score.attributes import INSTRUMENT_INDEX, METRES, TEMPOS, same_tempo, tempo_bin
from m2ugen.weights import packaged_folder

RATE = front_end.SAMPLE_RATE


@pytest.fixture(scope="module")
def encoder() -> NanoMusicEncoder:
    return NanoMusicEncoder.from_folder(packaged_folder("nano"))


def chord(*pitches: int, seconds: float = 4.0) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    partials = [np.sin(2 * np.pi * 440 * 2 ** ((p - 69) / 12) * h * time) / h for p in pitches for h in (1, 2, 3)]
    return (0.2 * np.sum(partials, axis=0) / len(pitches)).astype(np.float32)


def clicks(bpm: float, seconds: float = 12.0) -> np.ndarray:
    sound = np.random.default_rng(0).normal(0, 1e-4, int(seconds * RATE)).astype(np.float32)
    burst = np.random.default_rng(1).normal(0, 0.3, 400) * np.exp(-np.arange(400) / 80)
    for start in np.arange(0, len(sound) - 400, 60 / bpm * RATE).astype(int):
        sound[start : start + 400] += burst
    return sound.astype(np.float32)


def test_pitch_classes_of_a_chord() -> None:
    rows = front_end.chroma_features(chord(60, 64, 67))
    assert rows.shape == (front_end.CHROMA_ROWS, 12)
    assert set(np.argsort(rows[0])[-3:]) == {0, 4, 7}
    assert rows[4].argmax() == 0  # a major triad on C
    assert front_end.chroma_features(chord(62, 65, 69))[5].argmax() == 2  # a minor one on D


def test_transposing_turns_the_rows() -> None:
    low, high = (front_end.chroma_features(chord(*(p + shift for p in (60, 64, 67)))) for shift in (0, 3))
    sounding = [0, 2, 4, 6, 7, 8]  # there is no bass, and no minor triad
    assert np.abs(np.roll(low, 3, axis=1) - high)[sounding].max() < 0.2


@pytest.mark.parametrize("bpm", [60.0, 92.0, 140.0])
def test_onsets_repeat_at_the_tempo(bpm: float) -> None:
    rows = front_end.tempo_features(front_end.log_mel(clicks(bpm)))
    beat = rows[front_end.PERIODS.index(1.0) - len(front_end.PERIODS)]  # of the band that holds everything
    assert TEMPOS[beat.argmax()] == pytest.approx(bpm, rel=0.06)


def test_silence_has_finite_features() -> None:
    silence = np.zeros(RATE * 4, dtype=np.float32)
    mel = front_end.log_mel(silence)
    for features in (
        front_end.chroma_features(silence),
        front_end.tempo_features(mel),
        front_end.statistics(silence, mel),
    ):
        assert np.isfinite(features).all()


def test_log_mel_equals_librosa() -> None:
    librosa = pytest.importorskip("librosa")
    sound = chord(60, 67)
    power = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=512, hop_length=256, n_mels=96)
    assert np.abs(np.log10(10000 * power.T + 1) - front_end.log_mel(sound)).max() < 1e-3


def test_tagger_shapes_and_batches() -> None:
    tagger = Musicnn().eval()
    patches = torch.rand(2, PATCH_FRAMES, NUM_MELS)
    with torch.inference_mode():
        dense, tags = tagger(patches)
        alone, _ = tagger(patches[1:])
    assert dense.shape == (2, 200) and tags.shape == (2, 50)
    assert torch.allclose(dense[1:], alone, atol=1e-5)


def test_encoder_follows_the_protocol(encoder: NanoMusicEncoder) -> None:
    assert isinstance(encoder, Encoder)
    sounds = [chord(60, 64, 67), clicks(120, 40.0), np.zeros(100, dtype=np.float32)]
    prepared = [encoder.prepare(sound) for sound in sounds]
    assert [int(p["patch_mask"].sum()) for p in prepared] == [2, 12, 1]
    assert prepared[0]["patches"].shape[0] == MAX_PATCHES
    with torch.inference_mode():
        together = encoder(**{name: torch.stack([p[name] for p in prepared]) for name in prepared[0]})
        alone = encoder(**{name: value[None] for name, value in prepared[1].items()})
    assert together.shape == (3, encoder.num_tokens, encoder.dim)
    assert torch.isfinite(together).all()
    assert torch.allclose(together[1:2], alone, atol=1e-4)


def test_tokens_hold_probabilities_in_their_own_dimensions(encoder: NanoMusicEncoder) -> None:
    with torch.inference_mode():
        hidden = encoder(**{name: value[None] for name, value in encoder.prepare(chord(57, 60, 64)).items()})
    start = 0
    for index, (name, size) in enumerate(HEADS.items()):
        own = hidden[0, index, start : start + size]
        start += size
        if name != "instruments":
            assert float(own.sum()) == pytest.approx(1.0, abs=1e-4)
        assert float(hidden[0, index].abs().sum()) == pytest.approx(float(own.abs().sum()))
    assert (hidden[0] != 0).sum(dim=0).max() == 1  # no dimension serves two tokens


def test_key_and_mode_follow_a_transposition(encoder: NanoMusicEncoder) -> None:
    """What is learnt in one key holds in all, by construction."""
    features = {name: value[None] for name, value in encoder.prepare(chord(57, 60, 64)).items()}
    with torch.inference_mode():
        tags = encoder.tags(features["patches"], features["patch_mask"])
        timbre = encoder.ear.listen(features["patches"], features["patch_mask"])
        rest = (features["tempogram"], features["statistics"], tags, timbre)
        before = encoder.ear(features["chroma"], *rest)
        turned = encoder.ear(features["chroma"].roll(5, dims=2), *rest)
    assert torch.allclose(before["tonic"].roll(5, dims=1), turned["tonic"], atol=1e-4)
    assert torch.allclose(before["mode"], turned["mode"], atol=1e-4)


def test_absent_patches_are_not_heard() -> None:
    net = TimbreNet().eval()
    patches = torch.rand(1, 3, PATCH_FRAMES, NUM_MELS)
    with torch.inference_mode():
        two = net(patches[:, :2])
        masked = net(patches, torch.tensor([[True, True, False]]))
    assert two.shape == (1, TIMBRE_DIM) and torch.allclose(two, masked, atol=1e-5)


def test_what_is_heard_in_words(encoder: NanoMusicEncoder) -> None:
    hidden, start = np.zeros((encoder.num_tokens, encoder.dim), dtype=np.float32), 0
    band = [INSTRUMENT_INDEX[name] for name in ("piano", "violin", "drums")]
    likely = {
        "tempo": [tempo_bin(140)], "metre": [1], "mode": [1], "tonic": [4], "genre": [3], "energy": [3], "drums": [0],
        "lead": [INSTRUMENT_INDEX["violin"]], "instruments": band,
    }  # fmt: skip
    for index, (name, size) in enumerate(HEADS.items()):
        hidden[index, [start + value for value in likely[name]]] = 0.45  # unsure, but nothing is likelier
        start += size
    words = encoder.describe(hidden)
    tempo, rest = words.split(" bpm; ", 1)
    assert tempo.startswith("tempo: fast, ") and same_tempo(float(tempo.rpartition(" ")[2]), 140)
    assert rest == (
        "beats in a bar: 3; metre: 3/4; mode: minor; key: E minor; genre: jazz; energy: energetic; "
        "mood: tense and intense; drums: no; melody: violin; instruments: piano, violin"
    )


def test_what_sounds_when(encoder: NanoMusicEncoder) -> None:
    rng = np.random.default_rng(0)
    waveform = (0.1 * rng.standard_normal(int(8.5 * encoder.sample_rate))).astype(np.float32)
    times, heard = encoder.over_time(waveform)
    assert times.tolist() == [0.0, 3.0, 4.0, 5.0, 6.0]  # middles of windows; the first stands for the beginning
    assert heard.shape == (5, len(INSTRUMENT_INDEX)) and (heard >= 0).all() and (heard <= 1).all()
    assert len(encoder.over_time(waveform[:1000])[0]) == 1


def test_save_and_load(encoder: NanoMusicEncoder, tmp_path: Path) -> None:
    encoder.save(tmp_path)
    again = NanoMusicEncoder.from_folder(tmp_path)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value.float(), again.state_dict()[name].float()), name
    with pytest.raises(MissingWeights):
        NanoMusicEncoder.from_folder(tmp_path / "nothing")


def random_ear() -> tuple[Ear, list[torch.Tensor]]:
    """An ear with random weights, and measured features of two clips that sound like nothing."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ear = Ear().eval()
        for parameter in ear.parameters():
            torch.nn.init.normal_(parameter, std=0.05)
        shapes = ((front_end.CHROMA_ROWS, 12), (front_end.TEMPO_ROWS, len(TEMPOS)), (front_end.STATS,), (TAGGER_DIM,))
        return ear, [torch.rand(2, *shape) for shape in shapes]


def test_drums_are_heard_by_two() -> None:
    ear, rest = random_ear()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        patches = torch.rand(2, 3, PATCH_FRAMES, NUM_MELS)
    mask = torch.tensor([[True, True, False], [True, True, True]])
    with torch.inference_mode():
        heard = ear.listen(patches, mask)
        assert heard.shape == (2, TIMBRE_DIM + 1)
        assert torch.allclose(heard[0], ear.listen(patches[:1, :2])[0], atol=1e-5)  # the third is absent
        assert float(heard[1, -1]) == pytest.approx(float(ear.drum_net(patches[1]).mean()), abs=1e-5)
        heard[:, -1] = torch.tensor([-4.0, 4.0])
        both = ear(*rest, heard)["drums"]
        odds = both[:, 1] - both[:, 0]
        heard[:, -1] = 0.0
        alone = ear(*rest, heard)["drums"]
        assert torch.allclose(odds - (alone[:, 1] - alone[:, 0]), STRUCK_SHARE * torch.tensor([-4.0, 4.0]), atol=1e-5)
        learning = ear.train()(*rest, heard + torch.tensor([0.0] * TIMBRE_DIM + [9.0]))  # either learns by itself
        assert torch.equal(learning["struck"], torch.full((2,), 9.0))
        torch.manual_seed(0)
        other = ear(*rest, heard)["drums"]
        torch.manual_seed(0)
        assert torch.equal(ear(*rest, heard + torch.tensor([0.0] * TIMBRE_DIM + [9.0]))["drums"], other)


def test_beats_and_keys_have_a_network_of_their_own() -> None:
    ear, rest = random_ear()
    timbre = torch.rand(2, TIMBRE_DIM + 1)
    with torch.inference_mode():
        heard, measured = ear(*rest, timbre), ear.beat_key_net(*rest)
        for name in ("tempo", "metre", "tonic", "mode", "key"):
            assert torch.equal(heard[name], measured[name]), name
        beat = measured["beat"].unflatten(1, (len(METRES), len(TEMPOS))).softmax(dim=1)
        assert beat.shape == (2, len(METRES), len(TEMPOS))
        pairs = measured["beat"].softmax(dim=1).unflatten(1, (len(METRES), len(TEMPOS)))
        assert torch.allclose(pairs.sum(dim=1), measured["tempo"].softmax(dim=1), atol=1e-5)
        assert torch.allclose(pairs.sum(dim=2), measured["metre"].softmax(dim=1), atol=1e-5)
        ear.heads["genre"].weight.zero_(), ear.straight["genre"].weight.zero_(), ear.timbral["genre"].weight.zero_()
        ear.heads["genre"].bias.zero_()
        alone = ear(*rest, timbre)["genre"].softmax(dim=1)  # the heads have nothing to say
        assert torch.allclose(alone, (GENRE_SHARES[1] * measured["genre"]).softmax(dim=1), atol=1e-5)
        assert not set(ear.train()(*rest, timbre)) & {"tempo", "metre", "tonic", "mode"}


def test_a_family_is_named_by_its_likeliest_player() -> None:
    odds = np.zeros((2, len(INSTRUMENT_INDEX)))
    place = [INSTRUMENT_INDEX[name] for name in ("piano", "electric piano", "violin", "cello", "drums")]
    odds[0, place] = (0.2, 0.15, 0.45, 0.41, 0.05)  # a piano of some kind, and two of the strings
    odds[1, place] = (0.15, 0.1, 0.29, 0.0, 0.5)
    heard = sounding(odds)
    assert [sorted(np.flatnonzero(row)) for row in heard] == [sorted(place[i] for i in (0, 2, 3)), [place[4]]]
