"""The ear learns from stored features: drums that can be seen in the patches, tempi in the tempogram."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from m2ugen.data.nano.recordings import PATCH_STEP, load_features
from m2ugen.errors import InputError
from m2ugen.model.encoders import front_end
from m2ugen.model.encoders.beat_key_net import TAGGER_DIM
from m2ugen.model.encoders.musicnn import NUM_MELS, PATCH_FRAMES
from m2ugen.model.encoders.nano_music import NanoMusicEncoder
from m2ugen.score.attributes import TEMPOS, Attributes
from m2ugen.train.config import TrainConfig
from m2ugen.train.stages.beat_key import BeatKeyTask
from m2ugen.train.stages.music_encoder import MusicEncoderTask, _some, _varied
from m2ugen.train.trainer import train

CLIPS, PATCHES = 128, 3


def write_recordings(folder: Path, split: str, seed: int) -> None:
    """Clips with drums have strokes in their patches, and a tempogram that peaks at their tempo."""
    rng = np.random.default_rng(seed)
    drums, tempi = rng.random(CLIPS) < 0.5, rng.integers(len(TEMPOS), size=CLIPS)
    patches = rng.uniform(0.5, 1.0, (CLIPS, PATCHES, PATCH_FRAMES, NUM_MELS))
    patches[drums, :, ::20] += 2.0
    tempogram = rng.uniform(0, 0.2, (CLIPS, front_end.TEMPO_ROWS, len(TEMPOS)))
    tempogram[np.arange(CLIPS), :, tempi] = 1.0
    facts = [
        {
            "attributes": asdict(
                Attributes(
                    tempo=float(TEMPOS[tempo]), metre="4/4", mode="major", tonic=0, genre="pop", energy=2,
                    drums=bool(beaten), lead="piano", instruments=("piano", "drums") if beaten else ("piano",),
                )
            )
        }
        for tempo, beaten in zip(tempi, drums, strict=True)
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / f"{split}-0000.npz",
        facts=np.array(json.dumps(facts)),
        chroma=rng.random((CLIPS, front_end.CHROMA_ROWS, 12)).astype(np.float16),
        tempogram=tempogram.astype(np.float16),
        statistics=rng.random((CLIPS, front_end.STATS)).astype(np.float16),
        tags=rng.random((CLIPS, TAGGER_DIM)).astype(np.float16),
        patches=np.round(patches / PATCH_STEP).astype(np.uint8),
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ear")
    for seed, split in enumerate(("train", "valid")):
        write_recordings(folder / "recordings", split, seed)
    return folder


def test_the_ear_learns_what_can_be_heard(data: Path, tmp_path: Path) -> None:
    task = MusicEncoderTask(data, seed=0)
    before = task.evaluate()
    config = TrainConfig(output=tmp_path / "run", max_steps=24, learning_rate=3e-3, warmup_steps=2, evaluate_every=24)
    train(task, config)
    after = task.evaluate()
    # not of the loss: in it the packaged network has a say in the genre, which knows music and not such noise
    for figure in ("valid/drums", "valid/instruments_f1", "valid/lead"):
        assert after[figure] > 0.95 > before[figure], figure
    task.export(tmp_path)
    again = NanoMusicEncoder.from_folder(tmp_path)
    kept = task.model.timbre.state_dict()
    assert torch.equal(again.ear.timbre.state_dict()["over_time.weight"], kept["over_time.weight"].half().float())


def test_tempo_and_metre_are_learnt_together(data: Path, tmp_path: Path) -> None:
    task = BeatKeyTask(data, seed=0)
    before = task.evaluate()
    config = TrainConfig(output=tmp_path / "run", max_steps=60, learning_rate=3e-3, warmup_steps=5, evaluate_every=60)
    train(task, config)
    after = task.evaluate()
    assert after["valid/tempo"] > 0.8 > before["valid/tempo"]
    assert after["valid/metre"] == 1.0  # there is but one
    task.export(tmp_path)
    again = NanoMusicEncoder.from_folder(tmp_path).ear.beat_key_net.state_dict()
    kept = task.model.state_dict()["beats.3.weight"]
    assert torch.equal(again["beats.3.weight"], kept.half().float())


def test_patches_are_varied_and_stay_patches(data: Path) -> None:
    stored = torch.from_numpy(load_features(data / "recordings", "train")[0]["patches"])[:8]
    generator = torch.Generator().manual_seed(0)
    some = _some(stored, generator)
    assert some.shape == (8, 2, PATCH_FRAMES, NUM_MELS) and 0 < float(some.mean()) < 3
    varied = _varied(some, generator)
    assert varied.shape == some.shape and float(varied.min()) >= 0 and not torch.allclose(varied, some)
    shift = (varied - some).flatten(1).std(dim=1)  # level, equaliser and gaps are one for all patches of a clip
    assert float(shift.max()) < 1.5


def test_there_must_be_recordings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="m2ugen data nano"):
        MusicEncoderTask(tmp_path, seed=0)
    with pytest.raises(InputError, match="m2ugen data nano"):
        BeatKeyTask(tmp_path, seed=0)
