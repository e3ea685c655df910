"""AudioLDM 2: a folder as diffusers saves it loads, conditioning injected gives the pipeline's own sound, long music
has no seams, and what cannot be used is refused.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

diffusers = pytest.importorskip("diffusers")
from transformers import (  # noqa: E402
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    GPT2Config,
    GPT2LMHeadModel,
    GPT2Model,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from m2ugen.errors import InputError, MissingExtra, MissingWeights  # noqa: E402
from m2ugen.model.decoders.audioldm2 import AudioLDM2Decoder  # noqa: E402
from m2ugen.model.decoders.audioldm2.windows import CHUNK, over_windows, vocode, window_starts  # noqa: E402
from m2ugen.model.decoders.base import MusicDecoder  # noqa: E402

WORDS = ("a", "calm", "piano", "loud", "drums", "quality", "low", "with", "song")
CAPTION, LONG_CAPTION, NEGATIVE = (
    "a calm piano song with drums",
    "a loud song with loud drums a calm piano",
    "low quality",
)
TOKENS, WINDOW = 12, 16  # T5 positions of the conditioning; latents in time, of 8 samples each
SHORT = 128 / 16_000  # seconds: one window
LONG = 250.5 / 16_000  # 32 latents, three windows
STEPS = 2


def tiny_parts(seed: int = 0, window: int = WINDOW) -> dict[str, Any]:
    """All parts of a pipeline with the structure of cvssp/audioldm2 at tiny sizes and random weights; ``window`` counts
    latents.
    """
    letters = {chr(code) for word in WORDS for code in word.encode()} | {"Ġ"}
    vocabulary = {
        token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(letters)])
    }
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *(("▁" + word, -2.0) for word in WORDS)]
    audio = {"spec_size": 64, "window_size": 4, "num_mel_bins": 64, "depths": [1, 1], "num_attention_heads": [2, 2],
             "hidden_size": 16, "patch_embeds_hidden_size": 8, "patch_size": 4, "patch_stride": [4, 4],
             "num_hidden_layers": 2}  # fmt: skip
    text = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2, "num_hidden_layers": 1,
            "vocab_size": 64, "max_position_embeddings": 80, "pad_token_id": 1}  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return {
            "text_encoder": ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=12)),
            "tokenizer": RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=64),
            "feature_extractor": ClapFeatureExtractor(hop_length=800, max_length_s=1, truncation="rand_trunc"),
            "text_encoder_2": T5EncoderModel(
                T5Config(vocab_size=16, d_model=24, d_ff=32, d_kv=8, num_heads=2, num_layers=1,
                         feed_forward_proj="gated-gelu")
            ),
            "tokenizer_2": T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=128),
            "projection_model": diffusers.AudioLDM2ProjectionModel(12, 24, 16),
            "language_model": GPT2Model(GPT2Config(n_embd=16, n_head=2, n_layer=2, vocab_size=8, n_positions=64)),
            "unet": diffusers.AudioLDM2UNet2DConditionModel(
                sample_size=window, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16),
                down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), norm_num_groups=4, attention_head_dim=2,
                up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=([None, 16, 24],) * 2,
            ),
            "scheduler": diffusers.DDIMScheduler(beta_start=0.0015, beta_end=0.0195, beta_schedule="scaled_linear",
                                                 clip_sample=False, set_alpha_to_one=False, steps_offset=1),
            "vae": diffusers.AutoencoderKL(
                in_channels=1, out_channels=1, latent_channels=4, block_out_channels=(8, 8), norm_num_groups=4,
                down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            ),
            "vocoder": SpeechT5HifiGan(
                SpeechT5HifiGanConfig(model_in_dim=8, sampling_rate=16_000, upsample_initial_channel=8,
                                      upsample_rates=[2, 2], upsample_kernel_sizes=[4, 4], resblock_kernel_sizes=[3],
                                      resblock_dilation_sizes=[[1, 3]], normalize_before=False, initializer_range=0.2)
            ),
        }  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audioldm2")
    diffusers.AudioLDM2Pipeline(**tiny_parts()).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def decoder(folder: Path) -> AudioLDM2Decoder:
    return AudioLDM2Decoder.from_pretrained(folder, num_tokens=TOKENS)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """diffusers' own; its GPT-2 step needs a model with a head, which changes no hidden state."""
    parts = tiny_parts()
    with_head = GPT2LMHeadModel(parts["language_model"].config)
    with_head.transformer = parts["language_model"]
    reference = diffusers.AudioLDM2Pipeline(**{**parts, "language_model": with_head})
    reference.set_progress_bar_config(disable=True)
    for part in reference.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval()
    return reference


def sound_of(pipeline: Any, seed: int = 5, duration: float = SHORT, **options: Any) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    settings = {"num_inference_steps": STEPS, "max_new_tokens": 8, **options}
    return np.asarray(pipeline(audio_length_in_s=duration, generator=generator, **settings).audios)


def make(decoder: AudioLDM2Decoder, conditioning: torch.Tensor, duration: float = SHORT, **options: Any) -> np.ndarray:
    return decoder.generate(conditioning, duration, **{"seed": 5, "num_inference_steps": STEPS, **options}).audio


def test_fulfils_the_protocol(decoder: AudioLDM2Decoder) -> None:
    assert isinstance(decoder, MusicDecoder) and not decoder.takes_melody
    assert decoder.conditioning_shape == (1, TOKENS * 24 + 8 * 16) and decoder.sample_rate == 16_000
    assert not any(parameter.requires_grad or parameter.dtype != torch.float32 for parameter in decoder.parameters())


def test_text_becomes_what_the_pipeline_attends_to(decoder: AudioLDM2Decoder, pipeline: Any) -> None:
    states, mask, generated = pipeline.encode_prompt(CAPTION, "cpu", 1, False, max_new_tokens=8)
    prompt = decoder.prompts.unpack(decoder.encode_text([CAPTION]))
    length = states.shape[1]
    assert length == 7 and mask.all()
    torch.testing.assert_close(prompt.text_states[:, :length], states, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(prompt.generated, generated, rtol=1e-4, atol=1e-5)
    assert prompt.mask.tolist() == [[1] * length + [0] * (TOKENS - length)] and prompt.lengths == [length]
    assert prompt.text_states[:, length:].count_nonzero() == 0


def test_a_batch_of_captions_equals_its_captions(decoder: AudioLDM2Decoder) -> None:
    captions = [CAPTION, "drums", LONG_CAPTION, "a song " * 20]
    batch = decoder.encode_text(captions)
    assert batch.shape == (4, *decoder.conditioning_shape) and not batch.requires_grad
    torch.testing.assert_close(
        batch, torch.cat([decoder.encode_text([each]) for each in captions]), rtol=1e-4, atol=1e-5
    )
    assert decoder.prompts.unpack(batch).lengths == [7, 2, 10, TOKENS]


def test_gpt2_continues_as_without_a_cache(decoder: AudioLDM2Decoder) -> None:
    encoder = decoder.prompts
    states, mask = torch.randn(2, 9, 16, generator=torch.Generator().manual_seed(0)), torch.ones(2, 9, dtype=torch.long)
    mask[1, 4:8] = 0
    with torch.no_grad():
        quick = encoder._continue(states, mask, torch.arange(9).expand(2, -1))
        for _ in range(8):
            last = encoder.language_model(inputs_embeds=states, attention_mask=mask).last_hidden_state[:, -1:]
            states, mask = torch.cat([states, last], dim=1), torch.cat([mask, mask.new_ones(2, 1)], dim=1)
    torch.testing.assert_close(quick, states[:, -8:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("negative", [None, NEGATIVE])
@pytest.mark.parametrize("guidance_scale", [3.5, 1.0])
def test_text_gives_the_sound_of_the_pipeline(
    decoder: AudioLDM2Decoder, pipeline: Any, negative: str | None, guidance_scale: float
) -> None:
    expected = sound_of(pipeline, prompt=CAPTION, negative_prompt=negative, guidance_scale=guidance_scale)
    conditioning = decoder.encode_text([CAPTION])
    found = make(decoder, conditioning, negative_prompt=negative, guidance_scale=guidance_scale)
    assert expected.shape == found.shape == (1, 128) and expected.std() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_dense_conditioning_gives_the_sound_of_the_pipeline(decoder: AudioLDM2Decoder, pipeline: Any) -> None:
    """As a projector gives it: every position of T5 is filled."""
    conditioning = torch.randn(1, *decoder.conditioning_shape, generator=torch.Generator().manual_seed(1))
    states, generated = conditioning[0, :, : TOKENS * 24], conditioning[0, :, TOKENS * 24 :]
    empty = decoder.prompts.unpack(decoder.prompts([""], TOKENS))
    expected = sound_of(
        pipeline, prompt_embeds=states.reshape(1, TOKENS, 24), generated_prompt_embeds=generated.reshape(1, 8, 16),
        negative_prompt_embeds=empty.text_states, negative_generated_prompt_embeds=empty.generated,
        negative_attention_mask=empty.mask,
    )  # fmt: skip
    np.testing.assert_allclose(make(decoder, conditioning), expected, atol=1e-5)
    of_text = pipeline.encode_prompt(
        None, "cpu", 1, True, prompt_embeds=states.reshape(1, TOKENS, 24),
        generated_prompt_embeds=generated.reshape(1, 8, 16), max_new_tokens=8, negative_prompt=None,
    )  # fmt: skip
    torch.testing.assert_close(of_text[2][:1], empty.generated, rtol=1e-4, atol=1e-5)


def test_other_schedulers_give_the_sound_of_the_pipeline(folder: Path, pipeline: Any) -> None:
    name = "DPMSolverMultistepScheduler"
    quick = AudioLDM2Decoder.from_pretrained(folder, scheduler=name, num_tokens=TOKENS)
    before, pipeline.scheduler = pipeline.scheduler, getattr(diffusers, name).from_pretrained(folder / "scheduler")
    try:
        expected = sound_of(pipeline, prompt=CAPTION)
    finally:
        pipeline.scheduler = before
    np.testing.assert_allclose(make(quick, quick.encode_text([CAPTION])), expected, atol=1e-5)


def test_seeds_and_negative_prompts_decide(decoder: AudioLDM2Decoder) -> None:
    conditioning = decoder.encode_text([CAPTION])
    first = make(decoder, conditioning)
    np.testing.assert_array_equal(make(decoder, conditioning), first)
    negative = decoder.encode_text([LONG_CAPTION])
    for other in ({"seed": 6}, {"negative_prompt": NEGATIVE}, {"negative_prompt": negative}, {"guidance_scale": 5.0}):
        assert np.abs(make(decoder, conditioning, **other) - first).max() > 1e-5
    assert not np.array_equal(make(decoder, conditioning, seed=None), make(decoder, conditioning, seed=None))


def test_a_batch_equals_its_pieces(decoder: AudioLDM2Decoder) -> None:
    conditioning = decoder.encode_text([CAPTION, LONG_CAPTION])
    batch = decoder.generate_batch(conditioning, LONG, [5, 9], num_inference_steps=STEPS)
    for row, seed in enumerate((5, 9)):
        alone = make(decoder, conditioning[row : row + 1], LONG, seed=seed)
        np.testing.assert_allclose(batch[row].audio, alone, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 8, 100, 129, 500])
def test_durations_are_exact(decoder: AudioLDM2Decoder, samples: int) -> None:
    audio = make(decoder, decoder.encode_text([CAPTION]), samples / 16_000, num_inference_steps=1)
    assert audio.shape == (1, samples) and audio.dtype == np.float32
    assert np.isfinite(audio).all() and np.abs(audio).max() <= 1.0


def test_progress_rises_to_one(decoder: AudioLDM2Decoder) -> None:
    seen: list[float] = []
    make(decoder, decoder.encode_text([CAPTION]), LONG, progress=seen.append)
    assert len(seen) == STEPS + 1 and seen == sorted(seen) and seen[-1] == 1.0


def test_windows_cover_everything_evenly() -> None:
    assert window_starts(16, 16, 0.5) == [0] and window_starts(3, 16, 0.5) == [0]
    for total in (17, 24, 25, 63, 200):
        for overlap in (0.0, 0.25, 0.5, 0.8):
            starts = window_starts(total, 16, overlap)
            gaps = np.diff(starts)
            assert starts[0] == 0 and starts[-1] + 16 == total
            assert gaps.min() >= 1 and gaps.max() <= max(1, int(16 * (1 - overlap))) and np.ptp(gaps) <= 1


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_a_local_function_shows_no_windows(overlap: float) -> None:
    """What does not depend on its neighbourhood is the same in windows and at once: a constant stays constant."""
    sequence = torch.randn(2, 3, 63, 4, generator=torch.Generator().manual_seed(0))
    starts = window_starts(63, 16, overlap)

    def upsampled(part: torch.Tensor) -> torch.Tensor:
        return (part**2).repeat_interleave(2, dim=2)

    torch.testing.assert_close(over_windows(upsampled, sequence, starts, 16, 2), upsampled(sequence))
    constant = over_windows(torch.sin, torch.ones(1, 1, 63, 1), starts, 16)
    torch.testing.assert_close(constant, torch.full_like(constant, float(np.sin(1.0))))


def test_windows_fade_into_each_other() -> None:
    """Windows that disagree about the level are joined by slopes: no step is larger than one of the ramp's."""
    levels: Iterator[float] = iter(range(5))
    joined = over_windows(
        lambda part: torch.full_like(part, next(levels)), torch.zeros(1, 1, 48, 1), [0, 8, 16, 24, 32], 16
    )
    steps = joined.flatten().diff()
    assert joined.flatten()[0] == 0 and joined.flatten()[-1] == 4
    assert steps.min() >= 0 and steps.max() < 0.2


def test_the_vocoder_is_the_same_in_pieces(decoder: AudioLDM2Decoder) -> None:
    mel = torch.randn(1, CHUNK + 700, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(vocode(decoder.vocoder, mel, 4), decoder.vocoder(mel), rtol=1e-4, atol=1e-5)


def test_several_takes_are_ranked(decoder: AudioLDM2Decoder) -> None:
    conditioning = decoder.encode_text([CAPTION])
    takes = decoder.generate_batch(conditioning.expand(3, -1, -1), LONG, [5, 6, 7], num_inference_steps=STEPS)
    order = decoder.rank(takes, CAPTION)
    assert sorted(order) == [0, 1, 2] and order == decoder.rank(takes, CAPTION)
    best = decoder.generate(conditioning, LONG, seed=5, num_inference_steps=STEPS, num_waveforms=3, prompt=CAPTION)
    np.testing.assert_allclose(best.audio, takes[order[0]].audio, atol=1e-5)
    features = [clap_features(decoder, take.audio[0]) for take in takes]
    text = decoder.prompts.clap_states([CAPTION])[0, 0]
    assert order == sorted(range(3), key=lambda index: -float(features[index] @ text))


def clap_features(decoder: AudioLDM2Decoder, sound: np.ndarray) -> torch.Tensor:
    """CLAP's features of a short sound by transformers alone."""
    from m2ugen.media.audio import resample

    inputs = decoder.feature_extractor(
        resample(sound[None], 16_000, 48_000)[0], sampling_rate=48_000, return_tensors="pt"
    )
    with torch.no_grad():
        features: torch.Tensor = decoder.prompts.text_encoder.get_audio_features(**inputs).pooler_output[0]
    return features


def test_half_precision_follows_to(folder: Path, decoder: AudioLDM2Decoder) -> None:
    half = AudioLDM2Decoder.from_pretrained(folder, num_tokens=TOKENS).to(torch.bfloat16)
    conditioning = half.encode_text([CAPTION])
    assert conditioning.dtype == torch.float32
    audio = make(half, conditioning, LONG)
    assert audio.dtype == np.float32 and np.isfinite(audio).all()
    assert np.abs(audio - make(decoder, conditioning, LONG)).max() < 0.1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"melody": np.zeros(3)}, "melody"),
        ({"guidance_scale": 0.5}, "guidance_scale"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"num_inference_steps": 1001}, "num_inference_steps"),
        ({"duration": 0.0}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": 1e4}, "duration"),
        ({"seed": -1}, "seed"),
        ({"num_waveforms": 0}, "num_waveforms"),
        ({"num_waveforms": 2}, "prompt"),
        ({"negative_prompt": torch.zeros(1, 1, 3)}, "shape"),
        ({"plan": None}, "no option plan"),
    ],
)
def test_what_cannot_be_used_is_refused(decoder: AudioLDM2Decoder, options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make(decoder, torch.ones(1, *decoder.conditioning_shape), **options)


def test_wrong_conditioning_is_refused(decoder: AudioLDM2Decoder) -> None:
    right = torch.ones(1, *decoder.conditioning_shape)
    for wrong in (right[0], right[..., :-1], right[:0], right.expand(2, -1, -1)):
        with pytest.raises(InputError):
            make(decoder, wrong)
    with pytest.raises(InputError, match="finite"):
        make(decoder, right / 0.0)
    with pytest.raises(InputError, match="caption"):
        decoder.encode_text([])


@pytest.mark.parametrize(
    "part",
    ["model_index.json", "unet", "vae/config.json", "text_encoder_2/model.safetensors", "tokenizer", "scheduler"],
)
def test_missing_parts_are_named(folder: Path, tmp_path: Path, part: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    target = copy / part
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(MissingWeights, match=part.split("/")[0]):
        AudioLDM2Decoder.from_pretrained(copy)


def test_incomplete_weights_are_named(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    path = copy / "language_model" / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("ln_f.weight"))
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, path, {"format": "pt"})
    with pytest.raises(MissingWeights, match=r"language_model.*ln_f\.weight"):
        AudioLDM2Decoder.from_pretrained(copy)


def test_other_pipelines_are_refused(folder: Path, tmp_path: Path) -> None:
    index = json.loads((folder / "model_index.json").read_text())
    for changed in ({"_class_name": "AudioLDMPipeline"}, {"text_encoder_2": ["transformers", "VitsModel"]}):
        (tmp_path / "model_index.json").write_text(json.dumps({**index, **changed}))
        with pytest.raises(InputError, match=r"AudioLDMPipeline|VitsModel"):
            AudioLDM2Decoder.from_pretrained(tmp_path)
    with pytest.raises(InputError, match="scheduler"):
        AudioLDM2Decoder.from_pretrained(folder, scheduler="ClapModel")
    with pytest.raises(InputError, match="overlap"):
        AudioLDM2Decoder.from_pretrained(folder, overlap=1.0)


def test_without_a_feature_extractor_only_ranking_is_missing(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    shutil.rmtree(copy / "feature_extractor")
    bare = AudioLDM2Decoder.from_pretrained(copy, num_tokens=TOKENS)
    conditioning = bare.encode_text([CAPTION])
    assert make(bare, conditioning, num_inference_steps=1).shape == (1, 128)
    with pytest.raises(MissingWeights, match="feature_extractor"):
        make(bare, conditioning, num_waveforms=2, prompt=CAPTION)


def test_diffusers_is_an_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(MissingExtra, match=r"m2ugen\[diffusion\]"):
        AudioLDM2Decoder.from_pretrained(folder)


@pytest.mark.parametrize(
    ("attention", "depth", "unet_parameters", "total"),
    [([None, 768, 1024], 1, 346_943_496, 1.1e9), ([None, 768, 1024, None], 2, 718_012_296, 1.5e9)],
    ids=["audioldm2", "audioldm2-large"],
)
def test_full_sizes(attention: list[int | None], depth: int, unet_parameters: int, total: float) -> None:
    """The structure of the published configurations; the UNets' files have 1.39 and 2.87 GB in fp32."""
    blocks = ("CrossAttnDownBlock2D",) * 3
    clap_audio = {"depths": [2, 2, 12, 2], "hidden_size": 1024, "patch_embeds_hidden_size": 128}
    with torch.device("meta"):
        parts = {
            "text_encoder": ClapModel(ClapConfig(audio_config=clap_audio, projection_dim=512)),
            "text_encoder_2": T5EncoderModel(
                T5Config(vocab_size=32_128, d_model=1024, d_ff=2816, d_kv=64, num_heads=16, num_layers=24,
                         feed_forward_proj="gated-gelu", tie_word_embeddings=False)
            ),
            "projection_model": diffusers.AudioLDM2ProjectionModel(512, 1024, 768),
            "language_model": GPT2Model(GPT2Config()),
            "unet": diffusers.AudioLDM2UNet2DConditionModel(
                sample_size=256, in_channels=8, out_channels=8, block_out_channels=(128, 256, 384, 640),
                down_block_types=("DownBlock2D", *blocks), cross_attention_dim=[attention] * 4,
                up_block_types=("CrossAttnUpBlock2D",) * 3 + ("UpBlock2D",), transformer_layers_per_block=depth,
            ),
            "vae": diffusers.AutoencoderKL(
                in_channels=1, out_channels=1, latent_channels=8, block_out_channels=(128, 256, 512),
                layers_per_block=2,
                down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            ),
            "vocoder": SpeechT5HifiGan(
                SpeechT5HifiGanConfig(model_in_dim=64, sampling_rate=16_000, upsample_initial_channel=1024,
                                      upsample_rates=[5, 4, 2, 2, 2], upsample_kernel_sizes=[16, 16, 8, 4, 4])
            ),
            "scheduler": diffusers.DDIMScheduler(),
        }  # fmt: skip
        decoder = AudioLDM2Decoder(parts)
    assert decoder.conditioning_shape == (1, 137_216) and decoder.sample_rate == 16_000
    assert decoder.window * decoder.frames_per_latent * decoder.hop / decoder.sample_rate == 10.24
    assert sum(parameter.numel() for parameter in decoder.unet.parameters()) == unet_parameters
    assert sum(parameter.numel() for parameter in decoder.parameters()) == pytest.approx(total, rel=0.05)
