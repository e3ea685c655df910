"""Example media that travel with the package: two photographs, a clip, a piece of music and its notes.

Where they come from and under which licences stands in LICENSES.md beside them.
"""

from __future__ import annotations

from pathlib import Path

from m2ugen.errors import InputError

EXAMPLES = {
    "bright": "astronaut.jpg",  # bright, colourful, busy
    "dark": "launchpad.jpg",  # dark, calm
    "video": "to_space.mp4",
    "music": "trout.ogg",
    "midi": "trout.mid",
}


def example(name: str) -> Path:
    """The file of one of EXAMPLES. Raises InputError for any other name."""
    if name not in EXAMPLES:
        raise InputError(f"there is no example {name!r}; examples are: {', '.join(EXAMPLES)}")
    return Path(__file__).parent / EXAMPLES[name]
