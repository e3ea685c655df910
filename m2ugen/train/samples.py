"""What a model in training says and plays: a few held-out requests, answered at every evaluation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m2ugen.data.nano.dialogue import Dialogue
from m2ugen.media.audio import save_audio
from m2ugen.media.files import atomic_output
from m2ugen.model.generation import Sampling, StopText, generate
from m2ugen.model.modeling import M2UGenModel
from m2ugen.model.prompting import FORMATS, Turn, encode_prompt, findings
from m2ugen.model.registry import describers

DURATION = 8.0  # seconds
MAX_NEW_TOKENS = 64
SEED = 0


@dataclass
class Sampler:
    """Answers ``dialogues`` (with features of batch size one), and plays those that make music with ``decoder``.

    Writes ``answers.jsonl`` (request, wanted, answer, audio) and a WAV file for each piece.
    """

    dialogues: Sequence[Dialogue]
    decoder: Any = None

    @torch.inference_mode()
    def __call__(self, model: M2UGenModel, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        lines = [self._answer(model, index, dialogue, folder) for index, dialogue in enumerate(self.dialogues)]
        with atomic_output(folder / "answers.jsonl", (".jsonl",)) as temporary:
            temporary.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")

    def _answer(self, model: M2UGenModel, index: int, dialogue: Dialogue, folder: Path) -> dict[str, Any]:
        layout, device = model.config.prompt_format, model.language_model.audio_embeddings.weight.device
        features = {
            name: torch.as_tensor(getattr(dialogue, name), dtype=torch.float32, device=device)[None]
            for name in dialogue.attached
        }
        turn = Turn(dialogue.user, dialogue.attached, found=findings(describers(model.config), features))
        prompt = encode_prompt(model.tokenizer, [turn], layout)
        makes_music = dialogue.target is not None
        ends = StopText(model.tokenizer, FORMATS[layout].stop_strings)
        written = generate(
            model.language_model,
            [prompt],
            model.adapter_states(features),
            Sampling(max_new_tokens=MAX_NEW_TOKENS, audio="always" if makes_music else "never"),
            stop_ids=model.stop_ids,
            stop_text=ends,
        )
        said = str(model.tokenizer.decode(written.tokens[0], skip_special_tokens=True)).strip()
        audio: str | None = None
        if written.audio_states is not None and self.decoder is not None:
            conditioning = model.conditioning(written.audio_states).float()
            music = self.decoder.generate(conditioning, DURATION, seed=SEED)
            audio = f"{index}.wav"
            save_audio(folder / audio, music.audio, music.sample_rate)
        return {"request": dialogue.user, "wanted": dialogue.reply, "answer": ends.cut(said), "audio": audio}
