"""What the conditioning demands of a plan, as additions to the PlanWriter's logits.

The writer has learnt what goes together; the demands make it exact. Where an attribute is specified (its probability
of "unspecified" is below one half), the logits of the header token get the logarithm of the demanded probabilities
added (a product of experts), so that a certain demand is met with certainty and a blurred one is weighed.
"""

from __future__ import annotations

import itertools

import numpy as np

from m2ugen.model.decoders.score.plan_tokens import HOLD, KINDS, MAX_PLAN_BARS, NO_PART, SAME, Grammar
from m2ugen.score.attributes import (
    DRUMS,
    INSTRUMENT_INDEX,
    INSTRUMENT_NAMES,
    METRES,
    SLOT_INDEX,
    SLOTS,
    TEMPOS,
    attributes_from_conditioning,
    family_of,
    same_tempo,
)
from m2ugen.score.plan import BAR_TICKS, BEAT_TICKS, CHORDS_PER_BAR, ROLES

SPECIFIED = 0.5
SMALLEST = 1e-6
USUAL_METRE = "4/4"
# Nats for the usual metre where none is asked for. The material has more waltzes and jigs than people who ask for rock
# expect.
USUAL_METRE_BIAS = {
    "rock": 3.0, "pop": 3.0, "ballad": 2.0, "jazz": 3.0, "latin": 3.0, "blues": 1.0, "country": 2.5, "funk": 4.0,
    "classical": 0.5, "electronic": 4.0,
}  # fmt: skip
USUAL_MISFIT = 0.1  # share of the duration for which a piece in the usual metre may be cut or end early
USUAL_TEMPO = (72.0, 84.0, 100.0, 120.0, 132.0)  # of each energy, where no tempo is asked for
TEMPO_BIAS = 6.0  # nats by the square of the octaves away from it
WANTED_LEAD = 3.0  # nats for a tune on one of the instruments that were asked for
TEMPO_STRETCH = 0.04  # by which the tempo may be changed so that whole bars fill the duration
RETURN_BIAS = 1.0  # nats
LONGEST_CHORD = 2  # bars
LONGEST_FORM = 48  # bars that are written at once; a longer piece repeats its form
# Which roles an instrument of a family takes, the likeliest first.
_ROLES_OF: dict[str, tuple[str, ...]] = {
    "piano": ("chords", "melody", "arpeggio"),
    "mallets": ("melody", "arpeggio", "chords"),
    "organ": ("pad", "chords", "melody"),
    "guitar": ("chords", "arpeggio", "melody"),
    "bass": ("bass",),
    "strings": ("pad", "melody", "chords"),
    "voice": ("pad", "melody"),
    "brass": ("melody", "pad", "chords"),
    "woodwind": ("melody", "arpeggio", "pad"),
    "synth": ("melody", "arpeggio", "pad"),
    "drums": ("drums",),
}
_OWN_ROLES: dict[str, tuple[str, ...]] = {
    "harmonica": ("melody", "pad"),
    "accordion": ("melody", "chords", "pad"),
    "violin": ("melody", "pad"),
    "cello": ("melody", "bass", "pad"),
    "harp": ("arpeggio", "chords", "melody"),
    "brass": ("pad", "melody", "chords"),
    "synth pad": ("pad", "chords", "melody"),
    "banjo": ("arpeggio", "melody", "chords"),
    "distorted guitar": ("chords", "melody", "arpeggio"),
}


def roles_of(instrument: str) -> tuple[str, ...]:
    """The roles that an instrument can take, the likeliest first."""
    return _OWN_ROLES.get(instrument) or _ROLES_OF[family_of(instrument)]


def assign_roles(instruments: tuple[str, ...], taken: dict[str, str]) -> dict[str, str]:
    """Role → instrument for the asked ``instruments``, beside the roles that are already ``taken``.

    As many instruments as possible get a role, each as likely a one as possible; who finds none is left out.
    """
    open_instruments = [name for name in instruments if name not in taken.values()][: len(ROLES)]
    choices = [[*(r for r in roles_of(name) if r not in taken), None] for name in open_instruments]
    best: tuple[float, dict[str, str]] = (float("inf"), {})
    for roles in itertools.product(*choices):
        used = [role for role in roles if role is not None]
        if len(set(used)) < len(used):
            continue
        cost = sum(10.0 if role is None else float(options.index(role)) for role, options in zip(roles, choices))
        if cost < best[0]:
            best = (cost, {role: name for role, name in zip(roles, open_instruments) if role is not None})
    return {**taken, **best[1]}


def fitted(seconds: float, tempo: float, metre: str) -> tuple[int, float]:
    """Whole bars nearest to ``seconds`` at ``tempo``, and the factor by which the tempo must change to fill it."""
    bar_seconds = BAR_TICKS[metre] / BEAT_TICKS[metre] * 60.0 / tempo
    bars = max(1, round(seconds / bar_seconds))
    return bars, bars * bar_seconds / seconds


class Controls:
    """The demands of a conditioning matrix [NUM_SLOTS, SLOT_DIM] on a plan that is to last ``seconds``."""

    def __init__(self, conditioning: np.ndarray, seconds: float) -> None:
        self.conditioning, self.seconds = conditioning, seconds
        self.asked = attributes_from_conditioning(conditioning, SPECIFIED)
        excluded = set(self.asked.excluded) - set(self.asked.instruments)
        without_drums = self.asked.drums is False or (self.asked.drums is None and "drums" in excluded)
        if without_drums:
            excluded.add("drums")
        lead = self.asked.lead if self.asked.lead not in (*excluded, "drums") else None
        taken = {"melody": lead} if lead else {}
        if self.asked.drums:
            taken["drums"] = "drums"
        wanted = tuple(name for name in self.asked.instruments if name not in excluded)
        self.parts = assign_roles(wanted, taken)
        self.excluded = frozenset(INSTRUMENT_INDEX[name] for name in excluded)
        self.wanted = frozenset(INSTRUMENT_INDEX[name] for name in wanted)

    def bias(self, kind: str, grammar: Grammar) -> np.ndarray:
        """What to add to the logits of the coming token's values, float64 [KINDS[kind]]; -inf forbids a value."""
        bias = np.full(KINDS[kind], -np.inf)
        allowed = grammar.allowed()
        bias[allowed.start : allowed.stop] = 0.0
        if kind in ROLES:
            return bias + self._part_bias(kind, grammar)
        if kind in ("tempo", "metre", "mode", "tonic", "genre", "energy"):
            bias += self._expert(kind)
        if kind == "tempo" and not self.asked.tempo and self.asked.energy is not None:
            bias -= TEMPO_BIAS * np.log2(TEMPOS / USUAL_TEMPO[self.asked.energy]) ** 2
        if kind == "metre" and not self.asked.metre:
            bias[METRES.index(USUAL_METRE)] += USUAL_METRE_BIAS.get(self.asked.genre or "", USUAL_METRE_BIAS["pop"])
        if kind in ("tempo", "metre"):
            bias += self._fit_bias(kind, grammar)
        elif kind == "bars":
            bias[:] = -np.inf
            bias[self.form_bars(grammar)] = 0.0
        elif kind == "section_bars" and grammar.left > 1:
            # a bar alone is no section
            bias[1] = -np.inf
            if grammar.left - 1 in allowed and grammar.left > 2:
                bias[grammar.left - 1] = -np.inf
        elif kind in ("letter", "material", "chord"):
            bias += self._form_bias(kind, grammar)
        return bias

    def _fitted(self, grammar: Grammar) -> tuple[float, int, float]:
        """The tempo as asked or drawn, the bars of the whole piece, and how far the tempo must be stretched."""
        tempo = float(TEMPOS[grammar.values["tempo"]])
        asked = self.asked.tempo
        if asked is not None and same_tempo(tempo, asked):  # else a blurred demand: the draw counts
            tempo = asked
        return (tempo, *fitted(self.seconds, tempo, METRES[grammar.values["metre"]]))

    def tempo(self, grammar: Grammar) -> float:
        """The tempo in beats per minute, stretched so that whole bars fill the duration."""
        tempo, _, stretch = self._fitted(grammar)
        return tempo * float(np.clip(stretch, 1 - TEMPO_STRETCH, 1 + TEMPO_STRETCH))

    def bars(self, grammar: Grammar) -> int:
        """Bars of the whole piece."""
        return self._fitted(grammar)[1]

    def form_bars(self, grammar: Grammar) -> int:
        """Bars of the form that is written; a longer piece repeats it."""
        bars = self.bars(grammar)
        repeats = -(-bars // LONGEST_FORM)
        return min(-(-bars // repeats), MAX_PLAN_BARS)

    def _form_bias(self, kind: str, grammar: Grammar) -> np.ndarray:
        """A taste for form that can be heard: letters return, with their chords, and no chord stands too long."""
        bias = np.zeros(KINDS[kind])
        if kind == "material":
            bias[SAME] = RETURN_BIAS
        elif kind == "letter":
            letters = [letter for letter, _, _, _ in grammar.sections]
            bias[[letter for letter in set(letters) if letter != letters[-1]]] = RETURN_BIAS
        elif chords := grammar.open_chords:
            bias[chords[-1]] = -np.inf  # that is what HOLD says
            longest = LONGEST_CHORD * CHORDS_PER_BAR[METRES[grammar.values["metre"]]]
            if len(chords) >= longest and len(set(chords[-longest:])) == 1:
                bias[HOLD] = -np.inf
        return bias

    def _expert(self, name: str) -> np.ndarray:
        row = self.conditioning[SLOT_INDEX[name]]
        values = np.clip(row[1 : 1 + SLOTS[name]].astype(np.float64), 0.0, None)
        if row[0] >= SPECIFIED or values.sum() <= 0:
            return np.zeros(SLOTS[name])
        return np.log(np.maximum(values / values.sum(), SMALLEST))

    def _fit_bias(self, kind: str, grammar: Grammar) -> np.ndarray:
        """Tempos (metres) for which whole bars fill the duration; no restriction where there are none."""
        if kind == "tempo":
            metre = self.asked.metre or USUAL_METRE  # which leaves the metre open
            misfits = [abs(fitted(self.seconds, tempo, metre)[1] - 1) for tempo in TEMPOS]
        else:
            tempo = float(TEMPOS[grammar.values["tempo"]])
            misfits = [abs(fitted(self.seconds, tempo, metre)[1] - 1) for metre in METRES]
        fits = np.array(misfits) <= TEMPO_STRETCH
        if kind == "metre":
            usual = METRES.index(USUAL_METRE)
            fits[usual] |= misfits[usual] <= USUAL_MISFIT
        if (kind == "metre" and self.asked.metre) or (kind == "tempo" and self.asked.tempo) or not fits.any():
            return np.zeros(len(fits))
        return np.where(fits, 0.0, -np.inf)

    def _part_bias(self, role: str, grammar: Grammar) -> np.ndarray:
        bias = np.full(len(INSTRUMENT_NAMES) + 1, -np.inf)
        if role in self.parts:
            bias[INSTRUMENT_INDEX[self.parts[role]]] = 0.0
            return bias
        if role == "drums":
            bias[NO_PART] = 0.0
            if DRUMS not in self.excluded:
                row = self.conditioning[SLOT_INDEX["drums"]]
                bias[DRUMS] = 0.0 if row[0] >= SPECIFIED else float(np.log(max(row[2], SMALLEST)))
            return bias
        unwanted = self.conditioning[SLOT_INDEX["excluded"], 1 : 1 + len(INSTRUMENT_NAMES)].astype(np.float64)
        bias[:NO_PART] = np.log(np.clip(1.0 - unwanted, SMALLEST, 1.0))
        bias[[*self.excluded, DRUMS]] = -np.inf
        if role == "melody":
            bias[[i for i in self.wanted if i != DRUMS and "melody" in roles_of(INSTRUMENT_NAMES[i])]] += WANTED_LEAD
        if role != "melody" or not np.isfinite(bias[:NO_PART]).any():
            bias[NO_PART] = 0.0
        return bias
