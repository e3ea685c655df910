"""What the language model says by itself to general questions, so that it goes on saying it after training.

Answers of one's own are the mildest exercise against forgetting (as in learning without forgetting, arXiv 1606.09282):
they ask for nothing that the model would not do anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from m2ugen.errors import InputError
from m2ugen.media.files import atomic_output

FILE = "own_words.json"
MAX_NEW_TOKENS, MAX_SENTENCES, LEAST_WORDS = 64, 1, 4
BATCH = 16

_SUBJECTS = (
    "Mozart", "Bach", "Beethoven", "Chopin", "Vivaldi", "the Beatles", "Miles Davis", "Elvis Presley", "the violin",
    "the piano", "the guitar", "the flute", "the trumpet", "the saxophone", "the cello", "the drums", "the harp",
    "opera", "gospel", "reggae", "hip hop", "folk music", "film music", "music theory", "sheet music", "singing",
    "a choir", "an orchestra", "a conductor", "a composer", "a recording studio", "a concert", "the history of jazz",
    "the moon", "the ocean", "rain", "winter", "coffee", "bread", "a bicycle", "the sun", "trees", "bees", "dreams",
    "friendship", "mathematics", "photography", "painting", "a novel", "the internet", "computers", "Paris", "Japan",
    "Brazil", "football", "chess", "cooking", "sleep", "dogs", "cats", "birds", "whales", "mountains", "rivers",
    "a rainbow", "gravity", "electricity", "steam engines", "airplanes", "history", "poetry", "theatre", "dance",
    "a holiday", "a garden", "colours", "time", "memory", "learning a language", "good manners",
)  # fmt: skip
_ASKED = (
    "Tell me about {}.",
    "Tell me something interesting about {}.",
    "Why do people like {}?",
    "Give me a short description of {}.",
    "Say one sentence about {}.",
)
_SINGLE = (
    "What is the capital of France?", "What is the capital of Italy?", "How many days are in a week?",
    "Write a short poem about the sea.", "Write a haiku about autumn.", "Give me a title for a love song.",
    "Give me three ideas for a song.", "Suggest a name for a band.", "What should I listen to while studying?",
    "How can I practise the guitar?", "How do I learn to read notes?", "How can I sing better?",
    "How do I tune a guitar?", "Why is music good for us?", "What makes a good melody?", "How do I mix a song?",
    "How do I become a composer?", "What is the best way to learn the piano?", "How do I stop being nervous on stage?",
    "Write two lines for a song about summer.", "Translate 'music' into French.", "What colour is the sky?",
    "What is two plus two?", "Who wrote Romeo and Juliet?", "How are you today?", "Tell me a joke.",
    "What is your favourite song?", "Can you help me with my homework?", "What is love?",
    "What is the meaning of life?", "Why do leaves fall in autumn?", "How does a plane fly?", "What do cats eat?",
    "How do I make tea?", "What is a good present for a musician?", "How long should I practise each day?",
    "What is a good warm-up?",
)  # fmt: skip


def questions() -> list[str]:
    """General questions and requests, about music and about everything else."""
    return [asked.format(subject) for subject in _SUBJECTS for asked in _ASKED] + list(_SINGLE)


def write_own_words(
    output: Path, asked: Sequence[str] | None = None, progress: Callable[[float], None] = lambda share: None
) -> Path:
    """Let nano's language model answer (``asked``, else ``questions()``), untrained as it comes, and keep the pairs in
    ``output``. What is there already stays. Raises MissingWeights without the language model.
    """
    path = output / FILE
    if path.is_file():
        return path
    from transformers import AutoModelForCausalLM

    from m2ugen.model.prompting import Turn, encode_prompt
    from m2ugen.weights.smollm2 import resolve
    from m2ugen.weights.tokenizer import load_tokenizer

    folder = resolve()
    tokenizer = load_tokenizer(folder)
    tokenizer.padding_side = "left"
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()
    wanted = sorted(asked if asked is not None else questions(), key=len)
    pairs: list[tuple[str, str]] = []
    for first in range(0, len(wanted), BATCH):
        batch = wanted[first : first + BATCH]
        rows: Any = tokenizer.pad(
            {"input_ids": [encode_prompt(tokenizer, [Turn(question)]) for question in batch]}, return_tensors="pt"
        )
        with torch.inference_mode():
            written = model.generate(**rows, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)
        said = tokenizer.batch_decode(written[:, rows["input_ids"].shape[1] :], skip_special_tokens=True)
        pairs += [(q, short) for q, text in zip(batch, said, strict=True) if (short := first_sentences(text))]
        progress(min(first + BATCH, len(wanted)) / len(wanted))
    output.mkdir(parents=True, exist_ok=True)
    with atomic_output(path, (".json",)) as partial:
        partial.write_text(json.dumps(pairs, indent=1), encoding="utf-8")
    return path


def first_sentences(text: str) -> str:
    """The first whole sentences of an answer, MAX_SENTENCES at most; empty when there is none worth keeping."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    short = " ".join(sentence for sentence in sentences[:MAX_SENTENCES] if sentence.endswith((".", "!", "?")))
    return short if len(short.split()) >= LEAST_WORDS else ""


def read_own_words(data: Path) -> list[tuple[str, str]]:
    """The pairs of question and answer in ``data``; none without the file. Raises InputError when it is broken."""
    path = data / FILE
    if not path.is_file():
        return []
    try:
        return [(str(question), str(answer)) for question, answer in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is not what `m2ugen data nano` writes; delete it and run that again") from error
