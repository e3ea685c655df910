"""Small sets in the published layouts, with media that can be decoded."""

from __future__ import annotations

import json
from pathlib import Path

from m2ugen.data.build.layouts import Answer, Instruction, write_list
from m2ugen.media.audio import save_audio
from tests.data.build.media import RATE, tones, write_picture, write_video

COLOURS = ("red", "blue", "green", "orange", "white", "black")


def write_song(path: Path, number: int, seconds: float = 1.2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_audio(path, tones(seconds, 50 + 2 * number, 80 + 11 * number, drums=number % 2 == 0), RATE)
    return path


def music_caption(number: int) -> str:
    mood, player = ("calm", "lively", "sad")[number % 3], ("piano", "guitar", "flute", "strings")[number % 4]
    return f"A {mood} {player} piece number {number} with a clear melody."


def write_mucaps(folder: Path, count: int = 4, instructions: bool = True) -> Path:
    for k in range(count):
        write_song(folder / "audio" / f"mucaps_{k}.wav", k)
    captions = {f"mucaps_{k}.wav": music_caption(k) for k in range(count)}
    (folder / "MUCapsCaptions.json").write_text(json.dumps(captions))
    if instructions:
        entries = [Instruction(f"Make this: {c}", f"Here is {c}", name, c) for name, c in captions.items()]
        write_list(folder / "MUCapsInstructions.json", entries)
    return folder


def write_muimage(folder: Path, count: int = 3) -> Path:
    entries = []
    for k in range(count):
        write_picture(folder / "images" / f"{k}.jpg", COLOURS[k])
        write_song(folder / "audio" / f"{k}.wav", k)
        words = (f"Music for this picture, number {k}.", "Here it is.", f"{k}.wav", music_caption(k))
        entries.append(Instruction(*words, "image", f"{k}.jpg", f"A {COLOURS[k]} square, number {k}."))
    write_list(folder / "MUImageInstructions.json", entries)
    return folder


def write_muvideo(folder: Path, count: int = 2) -> Path:
    entries = []
    for k in range(count):
        (folder / "videos").mkdir(parents=True, exist_ok=True)
        write_video(folder / "videos" / f"{k}.mp4", COLOURS[k], seconds=1.0)
        write_song(folder / "audio" / f"{k}.wav", k)
        words = (f"Music for this video, number {k}.", "Here it is.", f"{k}.wav", music_caption(k))
        entries.append(Instruction(*words, "video", f"{k}.mp4", f"A {COLOURS[k]} square that grows brighter."))
    write_list(folder / "MUVideoInstructions.json", entries)
    return folder


def write_muedit(folder: Path, count: int = 2) -> Path:
    entries = []
    for k in range(count):
        for name in (f"from_{k}.wav", f"to_{k}.wav"):
            write_song(folder / "audio" / name, k)
        words = (f"Make it slower, number {k}.", "Slower it is.", f"to_{k}.wav", music_caption(k))
        entries.append(Instruction(*words, "audio", f"from_{k}.wav"))
    write_list(folder / "MUEditInstructions.json", entries)
    return folder


def write_musicqa(folder: Path, count: int = 3) -> Path:
    for split, name in (("pretrain", "Pretrain"), ("finetune", "Finetune"), ("eval", "Eval")):
        files = [write_song(folder / "audio" / f"{split}_{k}.wav", k).name for k in range(count)]
        entries = [Answer(file, "What is played?", music_caption(k)) for k, file in enumerate(files)]
        write_list(folder / f"{name}MusicQA.json", entries)
    return folder


def write_coco(folder: Path, count: int = 3) -> Path:
    images = [{"id": k, "file_name": f"{k:04d}.jpg"} for k in range(count)]
    for k, image in enumerate(images):
        write_picture(folder / "train2017" / str(image["file_name"]), COLOURS[k])
    annotations = [{"image_id": k, "caption": f"A plain {COLOURS[k]}\narea."} for k in range(count)]
    (folder / "annotations").mkdir()
    path = folder / "annotations" / "captions_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return folder


def write_alpaca(folder: Path, count: int = 4) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [
        {"instruction": f"Add one to {k}.", "input": "" if k % 2 else "Use a word.", "output": f"{k + 1}"}
        for k in range(count)
    ]
    (folder / "alpaca_data.json").write_text(json.dumps(tasks))
    return folder


def write_all(folder: Path) -> dict[str, Path]:
    """Every set by its name."""
    return {
        "mucaps": write_mucaps(folder / "mucaps"),
        "muimage": write_muimage(folder / "muimage"),
        "muvideo": write_muvideo(folder / "muvideo"),
        "muedit": write_muedit(folder / "muedit"),
        "musicqa": write_musicqa(folder / "musicqa"),
        "coco": write_coco(folder / "coco"),
        "alpaca": write_alpaca(folder / "alpaca"),
    }
