"""Chat models that write: of transformers, or behind an OpenAI-compatible address. Their JSON is checked, and asked for
again where it is not what was wanted.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from m2ugen.data.build.records import digest
from m2ugen.data.build.understanding import device, loaded
from m2ugen.errors import InputError, MissingWeights

Messages = list[dict[str, str]]
Wanted = TypeVar("Wanted")
TRIES = 3  # answers that a record gets before it is rejected
TEMPERATURE = 0.8  # after the first, which takes the likeliest words
MAX_NEW_TOKENS = 256
CHAT_ROWS = 8  # conversations that a model of transformers answers at once
REQUESTS_AT_ONCE = 8
PATIENCE = (1.0, 2.0, 4.0, 8.0)  # seconds between requests that a server could not serve
TIMEOUT = 300.0  # seconds
BUSY = (408, 409, 425, 429, 500, 502, 503, 504)
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)  # what MPT-7B-chat was trained on; its tokenizer does not say so


class Chat(Protocol):
    """Answers conversations; ``attempt`` counts from 0."""

    def __call__(self, conversations: Sequence[Messages], attempt: int) -> list[str]: ...


class ChatModel:
    """A chat model of transformers in a folder."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from m2ugen.model.quiet import quietly

        try:
            self.tokenizer: Any = quietly(AutoTokenizer.from_pretrained)(folder, local_files_only=True)
            model: Any = quietly(AutoModelForCausalLM.from_pretrained)(folder, local_files_only=True, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            raise MissingWeights(f"the chat model in {folder} cannot be loaded: {error}") from error
        self.model = model.to(device()).eval()
        self.tokenizer.padding_side = "left"
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if self.tokenizer.chat_template is None:
            self.tokenizer.chat_template = CHATML

    def __call__(self, conversations: Sequence[Messages], attempt: int) -> list[str]:
        import torch

        answers: list[str] = []
        for start in range(0, len(conversations), CHAT_ROWS):
            part = conversations[start : start + CHAT_ROWS]
            texts = [
                self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
                for messages in part
            ]
            inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
            inputs = {key: inputs[key].to(self.model.device) for key in ("input_ids", "attention_mask")}
            sampling = {"do_sample": True, "temperature": TEMPERATURE} if attempt else {"do_sample": False}
            with torch.inference_mode(), torch.random.fork_rng():
                torch.manual_seed(int(digest(texts, attempt)[:12], 16))  # generate knows no generator
                tokens = self.model.generate(
                    **inputs,
                    **sampling,
                    max_new_tokens=MAX_NEW_TOKENS,
                    pad_token_id=self.tokenizer.pad_token_id,
                    tokenizer=self.tokenizer,
                    stop_strings=["<|im_end|>"],
                )
            new = tokens[:, inputs["input_ids"].shape[1] :]
            answers += self.tokenizer.batch_decode(new, skip_special_tokens=True)
        return answers


class Endpoint:
    """A chat model called ``model`` behind an OpenAI-compatible ``address`` (its part before /chat/completions)."""

    def __init__(self, address: str, model: str) -> None:
        self.url = f"{address.rstrip('/')}/chat/completions"
        self.model = model

    def __call__(self, conversations: Sequence[Messages], attempt: int) -> list[str]:
        pool = ThreadPoolExecutor(REQUESTS_AT_ONCE)
        try:
            return list(pool.map(lambda messages: self._ask(messages, attempt), conversations))
        finally:
            pool.shutdown(cancel_futures=True)  # where one fails, the others need not be tried

    def _ask(self, messages: Messages, attempt: int) -> str:
        body = {
            "model": self.model,
            "messages": messages,
            "temperature": TEMPERATURE if attempt else 0.0,
            "max_tokens": MAX_NEW_TOKENS,
            "seed": attempt,
        }
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(self.url, json.dumps(body).encode(), headers)
        for pause in (*PATIENCE, None):
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
                    return str(json.load(response)["choices"][0]["message"]["content"])
            except urllib.error.HTTPError as error:
                problem = f"{error.code} {error.reason}"
                if error.code not in BUSY:
                    break
            except (OSError, TimeoutError) as error:
                problem = str(getattr(error, "reason", error))
            except (ValueError, KeyError, IndexError, TypeError):
                problem = "its answer is not a chat completion"
                break
            if pause is not None:
                time.sleep(pause)
        raise InputError(f"the chat model at {self.url} does not answer: {problem}")


def load_chat(writer: str, model: str | None) -> Chat:
    """The chat model in a folder, at a hub id or at an http address. Raises MissingWeights."""

    def load() -> Chat:
        from m2ugen.weights import model_folder

        if writer.startswith(("http://", "https://")):
            return Endpoint(writer, model or "")
        return ChatModel(model_folder(writer))

    found: Chat = loaded("chat", f"{writer} {model or ''}", load)
    return found


def persuade(
    chat: Chat, conversations: Sequence[Messages], read: Callable[[Any], Wanted]
) -> list[tuple[Wanted | None, str | None]]:
    """For each conversation what ``read`` makes of the JSON in the answer, or why there was no usable answer in TRIES.

    ``read`` raises ValueError for what it does not accept.
    """
    results: list[tuple[Wanted | None, str | None]] = [(None, None)] * len(conversations)
    left = list(range(len(conversations)))
    for attempt in range(TRIES):
        answers = chat([conversations[k] for k in left], attempt) if left else []
        failed = []
        for k, answer in zip(left, answers):
            try:
                results[k] = (read(find_json(answer)), None)
            except ValueError as error:
                results[k] = (None, str(error))
                failed.append(k)
        left = failed
    return results


def find_json(text: str) -> Any:
    """The first JSON object in ``text``. Raises ValueError when there is none."""
    decoder, place = json.JSONDecoder(), text.find("{")
    while place >= 0:
        try:
            return decoder.raw_decode(text, place)[0]
        except ValueError:
            place = text.find("{", place + 1)
    raise ValueError("the chat model writes no JSON")
