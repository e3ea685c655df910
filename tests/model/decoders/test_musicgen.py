"""MusicGen: injected T5 states give transformers' own codes; windows join; seeds, batches, melodies and errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    EncodecConfig,
    EncodecModel,
    MusicgenConfig,
    MusicgenDecoderConfig,
    MusicgenForCausalLM,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyDecoderConfig,
    MusicgenMelodyForCausalLM,
    MusicgenMelodyForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from m2ugen.config import M2UGenConfig
from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.decoders.base import MusicDecoder
from m2ugen.model.decoders.musicgen import MusicGenDecoder
from m2ugen.model.decoders.musicgen.chroma import FFT_SIZE, HOP, chroma, melody_window
from m2ugen.model.decoders.musicgen.linear import FewRowsLinear
from m2ugen.model.decoders.musicgen.sampling import CodeSampling, choose, delay, draw_codes, undelay
from m2ugen.model.decoders.musicgen.transformer import CodeTransformer

WORDS = ["a", "calm", "piano", "waltz", "with", "soft", "strings", "and", "drums"]
CAPTIONS = ["a calm piano waltz", "drums with soft strings and a piano"]
VOCABULARY, TOKENS, RATE, CHROMA_LENGTH = 64, 12, 32_000, 6
GREEDY = CodeSampling(temperature=0.0)
KINDS = ("mono", "stereo", "melody", "stereo-melody")


def save_tiny(folder: Path, kind: str) -> Any:
    """A model with random weights in the layout of the published folders; returns transformers' own."""
    melody, stereo = "melody" in kind, "stereo" in kind
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "num_codebooks": 8 if stereo else 4,
        "audio_channels": 2 if stereo else 1,
        "pad_token_id": VOCABULARY,
        "bos_token_id": VOCABULARY,
    }
    text = T5Config(vocab_size=len(WORDS) + 3, d_model=24, d_kv=6, d_ff=32, num_layers=2, num_heads=4)
    audio = EncodecConfig(
        sampling_rate=RATE,
        target_bandwidths=[1.2],
        upsampling_ratios=[8, 5, 4, 4],
        codebook_size=VOCABULARY,
        codebook_dim=16,
        hidden_size=16,
        num_filters=2,
        use_causal_conv=False,
        use_conv_shortcut=False,
    )
    torch.manual_seed(KINDS.index(kind))
    model: Any
    if melody:
        decoder = MusicgenMelodyDecoderConfig(**sizes)
        config = MusicgenMelodyConfig(
            text_encoder=text, audio_encoder=audio, decoder=decoder, chroma_length=CHROMA_LENGTH
        )
        model = MusicgenMelodyForConditionalGeneration(config)
    else:
        decoder = MusicgenDecoderConfig(**sizes)
        model = MusicgenForConditionalGeneration(
            MusicgenConfig(text_encoder=text, audio_encoder=audio, decoder=decoder)
        )
    for parameter in model.decoder.parameters():  # larger than a new model's, so that no two codes are near a tie
        parameter.data += 0.2 * torch.randn_like(parameter)
    for name, buffer in model.audio_encoder.named_buffers():
        if name.endswith("embed"):
            buffer.normal_()
    model.generation_config.decoder_start_token_id = VOCABULARY
    model.generation_config.pad_token_id = VOCABULARY
    model.generation_config.bos_token_id = VOCABULARY
    model.eval().save_pretrained(folder)
    save_tokenizer(folder)
    return model


def save_tokenizer(folder: Path) -> None:
    """A word-level T5 tokenizer."""
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((f"▁{word}", -1.0) for word in WORDS)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {kind: tmp_path_factory.mktemp(kind) for kind in KINDS}


@pytest.fixture(scope="module")
def originals(folders: dict[str, Path]) -> dict[str, Any]:
    return {kind: save_tiny(folder, kind) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def decoders(folders: dict[str, Path], originals: dict[str, Any]) -> dict[str, MusicGenDecoder]:
    return {
        kind: MusicGenDecoder.from_pretrained(folder, num_tokens=TOKENS, window=1.0, overlap=0.4)
        for kind, folder in folders.items()
    }


def tone(seconds: float, *frequencies: float, rate: int = RATE) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    parts = np.array_split(time, len(frequencies))
    return np.concatenate([np.sin(2 * np.pi * f * part) for f, part in zip(frequencies, parts)]).astype(np.float32)


def reference_codes(
    model: Any, decoder: MusicGenDecoder, captions: list[str], frames: int, guidance_scale: float, **inputs: Any
) -> torch.Tensor:
    """Greedy codes of transformers' own generation from text; its EnCodec is watched for what it is given."""
    seen: list[torch.Tensor] = []
    decode = model.audio_encoder.decode
    model.audio_encoder.decode = lambda codes, **options: seen.append(codes) or decode(codes, **options)
    tokens = decoder.tokenizer(captions, padding=True, return_tensors="pt")
    streams = decoder.channels
    try:
        model.generate(
            input_ids=tokens["input_ids"],
            attention_mask=tokens["attention_mask"],
            do_sample=False,
            guidance_scale=guidance_scale,
            max_new_tokens=frames + decoder.transformer.num_codebooks // streams - 1,
            **inputs,
        )
    finally:
        del model.audio_encoder.decode
    if streams == 1:
        return seen[0][0]
    return torch.stack([seen[0][0], seen[1][0]], dim=2).flatten(1, 2)


@pytest.mark.parametrize("guidance_scale", [1.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_injected_text_states_give_the_codes_of_transformers(
    kind: str, guidance_scale: float, originals: dict[str, Any], decoders: dict[str, MusicGenDecoder]
) -> None:
    decoder, sampling = decoders[kind], CodeSampling(guidance_scale, temperature=0.0)
    captions = CAPTIONS if "melody" not in kind else CAPTIONS[:1]  # melody models of transformers see their padding
    expected = reference_codes(originals[kind], decoder, captions, 20, guidance_scale)
    codes = decoder.generate_codes(decoder.encode_text(captions), 20, sampling, range(len(captions)))
    assert len(expected.unique()) > 8, "the model says nothing"
    torch.testing.assert_close(codes, expected)


def test_a_melody_gives_the_codes_of_transformers(
    originals: dict[str, Any], decoders: dict[str, MusicGenDecoder]
) -> None:
    decoder = decoders["melody"]
    samples = tone(1.5, 262, 330, 392)
    features = chroma(torch.from_numpy(samples), RATE)[None]
    expected = reference_codes(originals["melody"], decoder, CAPTIONS[:1], 20, 3.0, input_features=features)
    conditioning = decoder.encode_text(CAPTIONS[:1])
    codes = decoder.generate_codes(conditioning, 20, GREEDY, [0], (samples[None], RATE))
    torch.testing.assert_close(codes, expected)
    assert not torch.equal(codes, decoder.generate_codes(conditioning, 20, GREEDY, [0]))


def test_it_is_a_music_decoder(decoders: dict[str, MusicGenDecoder]) -> None:
    for kind, decoder in decoders.items():
        assert isinstance(decoder, MusicDecoder)
        assert decoder.takes_melody == ("melody" in kind)
        assert decoder.conditioning_shape == (TOKENS, 24) and decoder.sample_rate == RATE
        assert not any(parameter.requires_grad for parameter in decoder.parameters())


def test_text_states_end_in_zeros_and_long_captions_are_cut(decoders: dict[str, MusicGenDecoder]) -> None:
    states = decoders["mono"].encode_text(["piano", " ".join(WORDS * 4)])
    assert states.shape == (2, TOKENS, 24)
    assert states[0].norm(dim=-1).gt(0).tolist() == [True] * 2 + [False] * (TOKENS - 2)
    assert states[1].norm(dim=-1).gt(0).all()
    alone = decoders["mono"].encode_text(["piano"])
    torch.testing.assert_close(states[:1], alone)


def test_nearly_zero_rows_are_padding(decoders: dict[str, MusicGenDecoder]) -> None:
    decoder = decoders["mono"]
    conditioning = decoder.encode_text(CAPTIONS)
    nearly = conditioning + 1e-3 * torch.randn(conditioning.shape, generator=torch.Generator().manual_seed(0))
    assert [len(text) for text in decoder._texts(nearly)] == [len(text) for text in decoder._texts(conditioning)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("duration", [0.02, 0.5, 2.03])
def test_music_is_as_long_as_asked(kind: str, duration: float, decoders: dict[str, MusicGenDecoder]) -> None:
    fractions: list[float] = []
    decoder = decoders[kind]
    music = decoder.generate(decoder.encode_text(CAPTIONS[:1]), duration, seed=3, progress=fractions.append)
    assert music.audio.shape == (decoder.channels, round(duration * RATE)) and music.sample_rate == RATE
    assert music.audio.dtype == np.float32 and np.abs(music.audio).max() <= 1
    assert fractions == sorted(fractions) and fractions[0] > 0 and fractions[-1] == 1


@pytest.mark.parametrize("kind", ["stereo", "melody"])
def test_a_window_continues_the_one_before(kind: str, decoders: dict[str, MusicGenDecoder]) -> None:
    """The codes of a long piece begin with those of a short one, and each window is drawn after its prompt."""
    decoder = decoders[kind]
    conditioning = decoder.encode_text(CAPTIONS[:1])
    window, overlap = 50, 20  # frames of the fixture's windows
    codes = decoder.generate_codes(conditioning, 2 * window, GREEDY, [0])
    torch.testing.assert_close(codes[..., :window], decoder.generate_codes(conditioning, window, GREEDY, [0]))
    texts = decoder._texts(conditioning)
    conditions = decoder._conditions(texts, True, None, 0.0)
    second = draw_codes(
        decoder.transformer, conditions, window, GREEDY, [torch.Generator()], codes[..., window - overlap : window],
        decoder.channels,
    )  # fmt: skip
    torch.testing.assert_close(codes[..., window - overlap : 2 * window - overlap], second)


def test_a_continued_prompt_equals_one_draw(decoders: dict[str, MusicGenDecoder]) -> None:
    """Within one window, the first half as a prompt leads to the same second half: the prompt is read as written."""
    decoder = decoders["mono"]
    conditions = decoder._conditions(decoder._texts(decoder.encode_text(CAPTIONS[:1])), True, None, 0.0)
    generator = [torch.Generator()]
    whole = draw_codes(decoder.transformer, conditions, 40, GREEDY, generator)
    # the codebooks lag behind each other, so the prompt's last frames are complete before new ones are drawn
    rest = draw_codes(decoder.transformer, conditions, 40, GREEDY, generator, whole[..., :25])
    assert (rest == whole).float().mean() > 0.9 and torch.equal(rest[..., :26], whole[..., :26])


def test_long_codes_sound_as_in_one_piece(
    originals: dict[str, Any], decoders: dict[str, MusicGenDecoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = torch.randint(VOCABULARY, (2, 4, 150), generator=torch.Generator().manual_seed(0))
    codec = decoders["mono"].codec
    with torch.no_grad():
        expected = originals["mono"].audio_encoder.decode(codes[None], [None]).audio_values[:, 0]
    torch.testing.assert_close(codec(codes), expected, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(codec, "_chunk", 40)
    torch.testing.assert_close(codec(codes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["mono", "stereo-melody"])
def test_seeds_and_batches(kind: str, decoders: dict[str, MusicGenDecoder]) -> None:
    decoder = decoders[kind]
    conditioning = decoder.encode_text(CAPTIONS)
    alone = [decoder.generate(conditioning[index : index + 1], 1.3, seed=index).audio for index in range(2)]
    again = decoder.generate(conditioning[:1], 1.3, seed=0).audio
    other = decoder.generate(conditioning[:1], 1.3, seed=5).audio
    together = decoder.generate_batch(conditioning, 1.3, seeds=[0, 1])
    np.testing.assert_array_equal(alone[0], again)
    assert not np.allclose(alone[0], other) and not np.allclose(alone[0], alone[1])
    for music, single in zip(together, alone):
        np.testing.assert_allclose(music.audio, single, atol=1e-4)


def test_int8_and_bfloat16_models_stay_close(folders: dict[str, Path], decoders: dict[str, MusicGenDecoder]) -> None:
    conditioning = decoders["mono"].encode_text(CAPTIONS[:1])

    def logits(decoder: MusicGenDecoder) -> torch.Tensor:
        conditions = decoder._conditions(decoder._texts(conditioning), True, None, 0.0)
        embeddings = decoder.transformer.embed(torch.arange(2 * 4 * 6).view(2, 4, 6))
        return decoder.transformer(embeddings, decoder.transformer.start(conditions, 6)).float().flatten()

    exact = logits(decoders["mono"])
    for options in ({"quantise": "int8"}, {"dtype": "bfloat16"}):
        close = logits(MusicGenDecoder.from_pretrained(folders["mono"], num_tokens=TOKENS, **options))
        assert torch.corrcoef(torch.stack([exact, close]))[0, 1] > 0.999


def test_a_pickled_folder_in_shards_loads(tmp_path: Path, folders: dict[str, Path], originals: dict[str, Any]) -> None:
    """Older folders have pytorch_model-*.bin with weight norms under their old names, and the position table."""
    state = originals["mono"].state_dict()
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    old["decoder.model.decoder.embed_positions.weights"] = torch.zeros(2048, 32)
    names = sorted(old)
    shards = {"pytorch_model-00001-of-00002.bin": names[::2], "pytorch_model-00002-of-00002.bin": names[1::2]}
    for file, members in shards.items():
        torch.save({name: old[name] for name in members}, tmp_path / file)
    weight_map = {name: file for file, members in shards.items() for name in members}
    index = {"metadata": {"total_size": sum(t.nbytes for t in old.values())}, "weight_map": weight_map}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    for name in ("config.json", "generation_config.json"):
        (tmp_path / name).write_bytes((folders["mono"] / name).read_bytes())
    decoder = MusicGenDecoder.from_pretrained(tmp_path)
    whole = MusicGenDecoder.from_pretrained(folders["mono"])
    for (name, parameter), other in zip(decoder.named_parameters(), whole.parameters()):
        torch.testing.assert_close(parameter, other, msg=name)
    with pytest.raises(MissingWeights, match="tokenizer"):
        decoder.encode_text(["piano"])


def test_missing_weights_are_named(tmp_path: Path, folders: dict[str, Path], originals: dict[str, Any]) -> None:
    with pytest.raises(MissingWeights, match="download"):
        MusicGenDecoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(MissingWeights, match="llama"):
        MusicGenDecoder.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_bytes((folders["mono"] / "config.json").read_bytes())
    with pytest.raises(MissingWeights, match="weights"):
        MusicGenDecoder.from_pretrained(tmp_path)
    state = originals["mono"].state_dict()
    del state["decoder.model.decoder.layers.1.fc1.weight"]
    torch.save(state, tmp_path / "pytorch_model.bin")
    with pytest.raises(MissingWeights, match=r"layers\.1\.fc1"):
        MusicGenDecoder.from_pretrained(tmp_path)


def test_unusable_requests_are_refused(decoders: dict[str, MusicGenDecoder], folders: dict[str, Path]) -> None:
    decoder = decoders["mono"]
    good = decoder.encode_text(CAPTIONS[:1])
    for name, value in {"guidance_scale": 0.5, "temperature": -1.0, "top_k": -3, "top_p": 0.0, "beams": 4}.items():
        with pytest.raises(InputError, match=name):
            decoder.generate(good, 0.1, **{name: value})
    for conditioning in (good * float("nan"), good * 0, good[..., :5], good[0], good.expand(2, -1, -1)):
        with pytest.raises(InputError, match="conditioning"):
            decoder.generate(conditioning, 0.1)
    for duration in (0.0, -1.0, 601.0, float("nan")):
        with pytest.raises(InputError, match="duration"):
            decoder.generate(good, duration)
    with pytest.raises(InputError, match="melody model"):
        decoder.generate(good, 0.1, melody=(tone(1, 440)[None], RATE))
    with pytest.raises(InputError, match="seeds"):
        decoder.generate_batch(good, 0.1, seeds=[1, 2])
    for options in ({"dtype": "int4"}, {"quantise": "4bit"}, {"overlap": 30.0}):
        with pytest.raises(InputError, match=next(iter(options))):
            MusicGenDecoder.from_pretrained(folders["mono"], **options)


@pytest.mark.parametrize("rows", range(1, 12))
@pytest.mark.parametrize("int8", [False, True])
def test_few_rows_are_multiplied_as_many(rows: int, int8: bool) -> None:
    generator = torch.Generator().manual_seed(rows)
    weight = torch.randn(37, 21, generator=generator)
    states = torch.randn(rows, 1, 21, generator=generator)
    linear = FewRowsLinear(weight, int8)
    rounded = weight if linear.scale is None else linear.weight * linear.scale[:, None]
    torch.testing.assert_close(linear(states), states @ rounded.T, rtol=1e-4, atol=1e-5)
    assert (rounded - weight).abs().max() <= weight.abs().max() / 254 + 1e-6


def test_threads_share_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, states = torch.randn(37, 21), torch.randn(2, 21)
    monkeypatch.setattr("m2ugen.model.decoders.musicgen.linear.SHARE", 37 * 21 // 3)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    torch.testing.assert_close(FewRowsLinear(weight)(states), states @ weight.T, rtol=1e-4, atol=1e-5)


def test_a_dtype_leaves_rounded_weights_exact() -> None:
    linear, states = FewRowsLinear(torch.randn(5, 8), int8=True), torch.randn(2, 8)
    before = linear(states)
    linear.to(torch.bfloat16)
    torch.testing.assert_close(linear(states), before)
    assert linear(states.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("streams", [1, 2])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_the_delay_pattern(streams: int, frames: int, decoders: dict[str, MusicGenDecoder]) -> None:
    transformer = decoders["mono" if streams == 1 else "stereo"].transformer
    codes = torch.arange(transformer.num_codebooks * frames).view(1, -1, frames)
    delayed = delay(transformer, 1, frames, codes, streams)
    assert (delayed[..., 0] == VOCABULARY).all() and delayed.shape[-1] == frames + transformer.num_codebooks // streams
    torch.testing.assert_close(undelay(delayed, frames, streams), codes)
    assert (delayed == VOCABULARY).sum() == delayed.numel() - codes.numel()


def test_codes_are_chosen_by_their_probability() -> None:
    logits = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    numbers = (torch.arange(1000) + 0.5) / 1000
    many = logits.expand(1000, 4)

    def shares(**options: float) -> list[float]:
        chosen = choose(many, CodeSampling(**options), numbers)  # type: ignore[arg-type]
        return (torch.bincount(chosen, minlength=4) / 1000).tolist()

    assert shares() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=2e-3)
    assert shares(top_k=2) == pytest.approx([0, 0, 3 / 7, 4 / 7], abs=2e-3)
    assert shares(top_p=0.6) == pytest.approx([0, 0, 3 / 7, 4 / 7], abs=2e-3)
    assert shares(temperature=0) == [0, 0, 0, 1]


def test_chroma_hears_the_note() -> None:
    """A (440 Hz) is pitch class 9, C 0; a melody's frames follow it."""
    samples = torch.from_numpy(tone(4, 440.0, 523.25))
    classes = chroma(samples, RATE).argmax(dim=-1)
    assert len(classes) == 1 + len(samples) // HOP
    quiet = FFT_SIZE // HOP  # frames that hear both notes
    assert set(classes[: len(classes) // 2 - quiet].tolist()) == {9}
    assert set(classes[len(classes) // 2 + quiet :].tolist()) == {0}
    assert chroma(samples[:100], RATE).shape == (1 + FFT_SIZE // HOP, 12)


def test_chroma_filters_are_those_of_librosa() -> None:
    import librosa

    noise = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    spectrum = np.abs(librosa.stft(noise, n_fft=FFT_SIZE, hop_length=HOP, pad_mode="reflect")) ** 2
    strengths = librosa.filters.chroma(sr=RATE, n_fft=FFT_SIZE, tuning=0) @ spectrum
    np.testing.assert_array_equal(
        chroma(torch.from_numpy(noise), RATE).argmax(dim=-1).numpy(), strengths.argmax(axis=0)
    )


def test_a_melody_repeats_and_moves_on_with_the_windows() -> None:
    samples = torch.from_numpy(tone(4, 440.0, 523.25))
    whole = chroma(samples, RATE)
    torch.testing.assert_close(melody_window(samples, RATE, 0.0, 10), whole[:10])
    frames = len(whole)
    torch.testing.assert_close(melody_window(samples, RATE, 0.0, 2 * frames), whole.repeat(2, 1))
    later = melody_window(samples, RATE, 2.0, frames).argmax(dim=-1)
    assert later[6] == 0 and later[-6] == 9
    assert melody_window(samples, RATE, 3.0, 10).argmax(dim=-1)[-1] == 9  # past the end, from the beginning


PUBLISHED = {  # decoder sizes of facebook/musicgen-NAME, and the millions that its name stands for
    "small": ((1024, 24, 16, 4, False), 300),
    "medium": ((1536, 48, 24, 4, False), 1500),
    "large": ((2048, 48, 32, 4, False), 3300),
    "melody": ((1536, 48, 24, 4, True), 1500),
    "stereo-large": ((2048, 48, 32, 8, False), 3300),
    "stereo-melody": ((1536, 48, 24, 8, True), 1500),
}


CODEC = {  # facebook/encodec_32khz, which all of them have
    "sampling_rate": 32_000,
    "target_bandwidths": [2.2],
    "upsampling_ratios": [8, 5, 4, 4],
    "codebook_size": 2048,
    "codebook_dim": 128,
    "num_filters": 64,
    "use_causal_conv": False,
    "use_conv_shortcut": False,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes(name: str) -> None:
    (hidden, layers, heads, codebooks, melody), millions = PUBLISHED[name]
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "ffn_dim": 4 * hidden,
        "num_codebooks": codebooks,
        "audio_channels": 2 if "stereo" in name else 1,
    }
    with torch.device("meta"):
        model: Any
        if melody:
            model = MusicgenMelodyForCausalLM(MusicgenMelodyDecoderConfig(**sizes))
        else:
            model = MusicgenForCausalLM(MusicgenDecoderConfig(**sizes))
        expected = sum(parameter.numel() for parameter in model.parameters())
        transformer = CodeTransformer(model)
    count = sum(parameter.numel() for parameter in transformer.parameters())
    matrices, norms = (12, 4) if melody else (16, 6)  # times hidden², times hidden
    closed = layers * (matrices * hidden**2 + norms * hidden) + codebooks * hidden * (2 * 2048 + 1) + 2 * hidden
    assert count == expected == closed
    assert 0.8 * millions < count / 1e6 < 1.45 * millions  # "small" counts no cross-attention


@pytest.mark.parametrize("name", ["small", "medium", "large", "melody"])
def test_presets_state_the_published_sizes(name: str) -> None:
    decoder = M2UGenConfig.from_preset("musicgen" if name == "medium" else f"musicgen-{name}").decoder
    assert decoder is not None and decoder.source == f"facebook/musicgen-{name}"
    hidden, layers, heads, _, melody = PUBLISHED[name][0]
    sizes = {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads, "ffn_dim": 4 * hidden}
    with torch.device("meta"):
        network: Any = (
            MusicgenMelodyForCausalLM(MusicgenMelodyDecoderConfig(**sizes))
            if melody
            else MusicgenForCausalLM(MusicgenDecoderConfig(**sizes))
        )
        text = T5EncoderModel(T5Config(d_model=768, d_ff=3072, num_layers=12, num_heads=12))
        codec = EncodecModel(EncodecConfig(**CODEC))
    count = sum(p.numel() for part in (network, text, codec) for p in part.parameters())
    count += 769 * hidden + (13 * hidden if melody else 0)  # projections of text and chroma
    assert decoder.parameters == count
