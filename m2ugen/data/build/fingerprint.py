"""Acoustic fingerprints: the same recording is found again, whatever its format, loudness or start.

After Haitsma and Kalker, "A Highly Robust Audio Fingerprinting System" (2002): 32 bits for each step of time say how
the energy of neighbouring bands changes. A few of these words per recording, chosen by their hash, are looked up
(min-wise sampling); what shares one is compared bit by bit.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

RATE = 16_000  # Hz of what is fingerprinted
FFT, HOP = 8192, 512  # samples: half a second, every 32 ms
LOWEST, HIGHEST = 300.0, 2000.0  # Hz
BANDS = 33
FLOOR = 1e-3  # of the strongest band's energy
MAX_SECONDS = 120.0  # of a recording that count
SKETCH = 48  # words for each recording that are looked up
MAX_COMMON = 64  # recordings that may share a word before it says nothing
MAX_ERRORS = 0.32  # share of differing bits up to which two stretches are the same
MIN_OVERLAP = 0.7  # of the shorter recording that must be the same
SHIFTS = 3  # steps around a match that are tried


def fingerprint(mono: np.ndarray) -> np.ndarray:
    """Words, uint32 [steps], of float32 [samples] at RATE."""
    mono = mono[: round(MAX_SECONDS * RATE)]
    mono = np.pad(mono, (0, max(FFT + HOP - len(mono), 0)))
    windows = np.lib.stride_tricks.sliding_window_view(mono, FFT)[::HOP]
    edges = np.round(np.geomspace(LOWEST, HIGHEST, BANDS + 1) * FFT / RATE).astype(int)
    hann = np.hanning(FFT).astype(np.float32)
    energy = np.concatenate(
        [
            np.add.reduceat(np.abs(np.fft.rfft(part * hann, axis=1)[:, : edges[-1]]) ** 2, edges[:-1], axis=1)
            for part in np.array_split(windows, 1 + len(windows) // 128)
        ]
    )  # [steps, bands]
    floor = FLOOR * energy.max(axis=1, keepdims=True) + 1e-9  # below it is what codecs leave and add
    slope = np.diff(np.log(energy + floor), axis=1)
    rising = np.diff(slope, axis=0) > 0  # [steps - 1, 32]
    return np.asarray(np.packbits(rising, axis=1).view(">u4")[:, 0].astype(np.uint32))


def sketch(words: np.ndarray) -> np.ndarray:
    """Which of ``words`` are looked up: the SKETCH with the smallest hashes, uint32."""
    distinct = np.unique(words)
    hashed = (distinct.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return distinct[np.argsort(hashed, kind="stable")[:SKETCH]]


def same_recording(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether most of the shorter fingerprint is in the longer one."""
    if len(one) > len(other):
        one, other = other, one
    positions = defaultdict(list)
    for place, word in enumerate(other.tolist()):
        positions[word].append(place)
    offsets: dict[int, int] = defaultdict(int)
    for place, word in enumerate(one.tolist()):
        for found in positions.get(word, ())[:8]:
            offsets[found - place] += 1
    for offset, _ in sorted(offsets.items(), key=lambda item: (-item[1], item[0]))[:3]:
        for shift in range(offset - SHIFTS, offset + SHIFTS + 1):
            start, stop = max(-shift, 0), min(len(one), len(other) - shift)
            if stop - start < MIN_OVERLAP * len(one):
                continue
            differing = np.bitwise_count(one[start:stop] ^ other[start + shift : stop + shift]).mean() / 32
            if differing <= MAX_ERRORS:
                return True
    return False


def find_duplicates(sketches: Sequence[np.ndarray], words: Callable[[int], np.ndarray]) -> dict[int, int]:
    """Recordings that were there before: index → index of the first of the same. ``words`` gives the fingerprint of an
    index.
    """
    holders: dict[int, list[int]] = defaultdict(list)
    found: dict[int, int] = {}
    for index, own in enumerate(sketches):
        shared: dict[int, int] = defaultdict(int)
        for word in own.tolist():
            if len(holders[word]) < MAX_COMMON:
                for holder in holders[word]:
                    shared[holder] += 1
        candidates = sorted(shared, key=lambda holder: (-shared[holder], holder))[:16]
        mine = words(index) if candidates else None
        first = next((c for c in candidates if mine is not None and same_recording(mine, words(c))), None)
        if first is not None:
            found[index] = first
            continue
        for word in own.tolist():
            if len(holders[word]) < MAX_COMMON:
                holders[word].append(index)
    return found
