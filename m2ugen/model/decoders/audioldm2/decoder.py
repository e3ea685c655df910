"""AudioLDM2Decoder: conditioning → denoised latents → mel spectrogram → sound."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from m2ugen.errors import InputError, MissingWeights
from m2ugen.model.decoders.audioldm2.loading import load_parts
from m2ugen.model.decoders.audioldm2.prompts import Prompt, PromptEncoder
from m2ugen.model.decoders.audioldm2.ranking import similarities
from m2ugen.model.decoders.audioldm2.windows import over_windows, vocode, window_starts
from m2ugen.model.decoders.base import Music, Progress

GUIDANCE_SCALE = 3.5
NUM_INFERENCE_STEPS = 200
MAX_DURATION = 600.0  # seconds
DENOISING_SHARE = 0.95  # of the time that generation takes


class AudioLDM2Decoder(nn.Module):
    """AudioLDM 2 (arXiv 2308.05734) driven by conditioning instead of a text, mono.

    The conditioning is [batch, 1, D], as ``prompts.PromptEncoder`` describes it; D is 128 * 1024 + 8 * 768 at the
    published sizes. ``parts`` are those of diffusers' AudioLDM2Pipeline by name. Music longer than the network was
    trained for (10.24 s) is denoised in windows that share ``overlap`` of their length. ``num_inference_steps`` is what
    ``generate`` takes when it is not told.
    """

    takes_melody: bool = False

    def __init__(
        self,
        parts: Mapping[str, Any],
        num_tokens: int = 128,
        num_generated: int = 8,
        overlap: float = 0.5,
        num_inference_steps: int = NUM_INFERENCE_STEPS,
    ) -> None:
        super().__init__()
        if not 0.0 <= overlap <= 0.9:
            raise InputError(f"overlap must be 0 to 0.9, not {overlap:g}")
        self.prompts = PromptEncoder(parts, num_tokens, num_generated)
        self.unet, self.vae, self.vocoder = parts["unet"], parts["vae"], parts["vocoder"]
        self.scheduler = parts["scheduler"]
        self.feature_extractor = parts.get("feature_extractor")
        self.overlap = overlap
        self.num_inference_steps = num_inference_steps
        self.conditioning_shape: tuple[int, int] = (1, self.prompts.conditioning_size)
        self.sample_rate: int = self.vocoder.config.sampling_rate
        self.hop: int = math.prod(self.vocoder.config.upsample_rates)  # samples per mel frame
        self.frames_per_latent: int = 2 ** (len(self.vae.config.block_out_channels) - 1)
        size = self.unet.config.sample_size
        self.window: int = size if isinstance(size, int) else size[0]  # latents in time
        self._empty: dict[int, torch.Tensor] = {}  # conditioning of the empty text by its padded length

    @classmethod
    def from_pretrained(cls, folder: str | Path, scheduler: str | None = None, **options: Any) -> AudioLDM2Decoder:
        """Read a folder with the layout of cvssp/audioldm2, -large or -music.

        ``scheduler`` names another diffusers scheduler (DPMSolverMultistepScheduler needs some 20 steps);
        ``options`` are those of the constructor. Raises MissingExtra, MissingWeights, and InputError for a folder of
        another kind.
        """
        return cls(load_parts(Path(folder), scheduler), **options).eval().requires_grad_(False)

    def encode_text(self, captions: Sequence[str]) -> torch.Tensor:
        """Conditioning [len(captions), *conditioning_shape] of captions, fp32. Raises InputError without any."""
        conditioning: torch.Tensor = self.prompts(captions)
        return conditioning

    def generate(
        self,
        conditioning: torch.Tensor,
        duration: float,
        guidance_scale: float | None = None,
        seed: int | None = None,
        melody: Any = None,
        progress: Progress | None = None,
        num_inference_steps: int | None = None,
        negative_prompt: str | torch.Tensor | None = None,
        num_waveforms: int = 1,
        prompt: str | None = None,
        **options: Any,
    ) -> Music:
        """Music of exactly ``duration`` seconds.

        Args:
            conditioning: [1, *conditioning_shape].
            duration: seconds, up to 600.
            guidance_scale: 1 (none) and above; 3.5 by default.
            seed: same seed, same music; None draws one.
            melody: must be None: the model follows no recording.
            progress: called with the finished fraction.
            num_inference_steps: denoising steps, 1 to the scheduler's number of training steps.
            negative_prompt: what to stay away from, a text or conditioning [1, *conditioning_shape]; by default the
                empty text. Not used without guidance.
            num_waveforms: takes to choose from, with seeds from ``seed`` on.
            prompt: the text by which CLAP chooses among several takes.

        Raises InputError for what cannot be used, MissingWeights for several takes without a feature extractor.
        """
        if melody is not None:
            raise InputError("AudioLDM 2 follows no melody; leave it out, or take a MusicGen melody model")
        if options:
            raise InputError(f"AudioLDM 2 has no option {', '.join(sorted(options))}")
        self._check_conditioning(conditioning)
        if len(conditioning) != 1:
            raise InputError(f"generate makes one piece, not {len(conditioning)}; use generate_batch")
        if num_waveforms < 1:
            raise InputError(f"num_waveforms must be 1 or more, not {num_waveforms}")
        if num_waveforms > 1 and prompt is None:
            raise InputError("choosing among several waveforms needs the prompt to choose by; or use generate_batch")
        if num_waveforms > 1 and self.feature_extractor is None:
            raise MissingWeights("choosing among several waveforms needs the model's feature_extractor folder")
        first = int(np.random.default_rng().integers(2**31)) if seed is None else seed
        takes = self.generate_batch(
            conditioning.expand(num_waveforms, -1, -1),
            duration,
            [first + index for index in range(num_waveforms)],
            guidance_scale,
            progress,
            num_inference_steps,
            negative_prompt,
        )
        return takes[0] if prompt is None or num_waveforms == 1 else takes[self.rank(takes, prompt)[0]]

    @torch.no_grad()
    def generate_batch(
        self,
        conditioning: torch.Tensor,
        duration: float,
        seeds: Sequence[int],
        guidance_scale: float | None = None,
        progress: Progress | None = None,
        num_inference_steps: int | None = None,
        negative_prompt: str | torch.Tensor | None = None,
    ) -> list[Music]:
        """One piece for each row of ``conditioning`` [batch, *conditioning_shape] and of ``seeds``; each is what
        ``generate`` makes of its row and seed, whose other arguments these are.
        """
        scale = GUIDANCE_SCALE if guidance_scale is None else guidance_scale
        steps = self.num_inference_steps if num_inference_steps is None else num_inference_steps
        self._check(conditioning, duration, seeds, scale, steps)
        report = progress or (lambda fraction: None)
        samples = max(1, round(duration * self.sample_rate))
        length = math.ceil(samples / (self.hop * self.frames_per_latent))  # latents in time
        prompt = self.prompts.unpack(conditioning)
        negative = self._negative(prompt, negative_prompt) if scale > 1 else None
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        width = self.vocoder.config.model_in_dim // self.frames_per_latent
        shape = (self.unet.config.in_channels, length, width)
        # Drawn on the CPU, so that a seed means the same everywhere.
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        latents = self._denoise(noise.to(self.unet.device), prompt, negative, scale, steps, generators,
                                lambda fraction: report(DENOISING_SHARE * fraction))  # fmt: skip
        sound = self._render(latents)[:, :samples].cpu().float().numpy()
        report(1.0)
        return [Music(take[None], self.sample_rate) for take in sound]

    def rank(self, takes: Sequence[Music], prompt: str) -> list[int]:
        """The takes' numbers, the one that fits ``prompt`` best first. Raises MissingWeights without a
        feature extractor.
        """
        if self.feature_extractor is None:
            raise MissingWeights("ranking needs the model's feature_extractor folder")
        text = self.prompts.clap_states([prompt])[:, 0]  # [1, dim]
        sounds = [take.audio.mean(axis=0) for take in takes]
        scores = similarities(self.prompts.text_encoder, self.feature_extractor, text, sounds, self.sample_rate)
        return sorted(range(len(takes)), key=lambda index: -scores[index])

    def _denoise(
        self,
        noise: torch.Tensor,  # [batch, channels, time, width]
        prompt: Prompt,
        negative: Prompt | None,
        guidance_scale: float,
        steps: int,
        generators: list[torch.Generator],
        report: Progress,
    ) -> torch.Tensor:
        """Latents of the shape of ``noise``, fp32; without a ``negative`` prompt there is no guidance."""
        scheduler = type(self.scheduler).from_config(self.scheduler.config)  # a fresh one: schedulers keep a state
        scheduler.set_timesteps(steps, device=noise.device)
        extra = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
        if negative is not None:
            prompt = Prompt(*(torch.cat(pair) for pair in zip(negative, prompt)))
        starts = window_starts(noise.shape[2], self.window, self.overlap)
        latents = noise * scheduler.init_noise_sigma
        for index, timestep in enumerate(scheduler.timesteps):

            def predict(part: torch.Tensor, timestep: torch.Tensor = timestep) -> torch.Tensor:
                if negative is None:
                    return self._predict(part, timestep, prompt)
                without, towards = self._predict(torch.cat([part, part]), timestep, prompt).chunk(2)
                return without + guidance_scale * (towards - without)

            noisy = scheduler.scale_model_input(latents, timestep)
            predicted = over_windows(predict, noisy, starts, self.window)
            latents = scheduler.step(predicted, timestep, latents, **extra).prev_sample
            report((index + 1) / len(scheduler.timesteps))
        return latents

    def _predict(self, latents: torch.Tensor, timestep: torch.Tensor, prompt: Prompt) -> torch.Tensor:
        predicted: torch.Tensor = self.unet(
            latents.to(self.unet.dtype),
            timestep,
            encoder_hidden_states=prompt.generated,
            encoder_hidden_states_1=prompt.text_states,
            encoder_attention_mask_1=prompt.mask,
        ).sample
        return predicted.float()

    def _render(self, latents: torch.Tensor) -> torch.Tensor:
        """Samples [batch, time] of latents [batch, channels, time, width]. The VAE attends over all of its input, so
        it too takes long music in windows.
        """

        def decode(part: torch.Tensor) -> torch.Tensor:
            spectrogram: torch.Tensor = self.vae.decode(
                (part / self.vae.config.scaling_factor).to(self.vae.dtype)
            ).sample
            return spectrogram

        starts = window_starts(latents.shape[2], self.window, self.overlap)
        mel = over_windows(decode, latents, starts, self.window, self.frames_per_latent)  # [batch, 1, frames, bins]
        return vocode(self.vocoder, mel[:, 0].to(self.vocoder.dtype), self.hop)

    def _negative(self, prompt: Prompt, negative_prompt: str | torch.Tensor | None) -> Prompt:
        """What guidance leads away from, for each row of ``prompt``; texts are padded to the row's length."""
        rows = len(prompt.mask)
        if isinstance(negative_prompt, torch.Tensor):
            self._check_conditioning(negative_prompt)
            if len(negative_prompt) not in (1, rows):
                raise InputError(f"the negative prompt has {len(negative_prompt)} rows; give 1 or {rows}")
            return self.prompts.unpack(negative_prompt.expand(rows, -1, -1))
        lengths = prompt.lengths
        encoded = {length: self._negative_text(negative_prompt or "", length) for length in set(lengths)}
        return self.prompts.unpack(torch.cat([encoded[length] for length in lengths]))

    def _negative_text(self, text: str, length: int) -> torch.Tensor:
        """Conditioning [1, *conditioning_shape] on the CPU; that of the empty text is kept."""
        if text:
            return self.prompts([text], length).cpu()
        if length not in self._empty:
            self._empty[length] = self.prompts([text], length).cpu()
        return self._empty[length]

    def _check(
        self, conditioning: torch.Tensor, duration: float, seeds: Sequence[int], guidance_scale: float, steps: int
    ) -> None:
        """Raises InputError for what ``generate_batch`` cannot use."""
        self._check_conditioning(conditioning)
        if not 0.0 < duration <= MAX_DURATION:  # also refuses NaN
            raise InputError(f"a duration of {duration:g} s cannot be made; choose up to {MAX_DURATION:g}")
        if len(seeds) != len(conditioning) or any(seed < 0 for seed in seeds):
            raise InputError("every row of the conditioning needs a seed, 0 or more")
        if not 1.0 <= guidance_scale < math.inf:
            raise InputError(f"guidance_scale must be 1 or more, not {guidance_scale:g}")
        most = self.scheduler.config.num_train_timesteps
        if not 1 <= steps <= most:
            raise InputError(f"num_inference_steps must be 1 to {most}, not {steps}")

    def _check_conditioning(self, conditioning: torch.Tensor) -> None:
        if conditioning.ndim != 3 or tuple(conditioning.shape[1:]) != self.conditioning_shape or not len(conditioning):
            raise InputError(
                f"the conditioning has the shape {tuple(conditioning.shape)}; "
                f"the decoder needs [batch, {self.conditioning_shape[0]}, {self.conditioning_shape[1]}]"
            )
        if not bool(torch.isfinite(conditioning).all()):
            raise InputError("the conditioning holds numbers that are not finite; the model that made it is broken")
