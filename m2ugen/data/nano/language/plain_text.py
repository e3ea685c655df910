"""Plain English that has nothing to do with the tasks, so that training does not cost the language model its language.

It is the text of Python's own manual, which every installation has (``pydoc_data.topics``). The last third of the
chapters is kept from training, to measure on.
"""

from __future__ import annotations

PASSAGE = 400  # characters


def manual(held_out: bool) -> str:
    """The chapters that training reads, or those that are held out, in the order of their names."""
    from pydoc_data.topics import topics

    names = sorted(topics)
    cut = len(names) * 2 // 3
    read, rest = (
        [paragraph for name in chapters for paragraph in topics[name].split("\n\n")]
        for chapters in (names[:cut], names[cut:])
    )
    if not held_out:
        return "\n\n".join(read)
    known = {paragraph.strip() for paragraph in read}  # chapters share paragraphs
    return "\n\n".join(paragraph for paragraph in rest if paragraph.strip() not in known)


def passages(text: str) -> list[str]:
    """Whole paragraphs of ``text``, joined up to about PASSAGE characters, without white space at the ends of lines."""
    found, current = [], ""
    for paragraph in text.split("\n\n"):
        words = "\n".join(line.strip() for line in paragraph.strip().splitlines())
        current = f"{current}\n\n{words}" if current else words
        if len(current) >= PASSAGE // 2:
            found.append(current[: 2 * PASSAGE])
            current = ""
    return found
