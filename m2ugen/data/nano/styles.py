"""What each genre sounds like: MMA grooves by metre, instruments by role, tempi. Tables only."""

from __future__ import annotations

from dataclasses import dataclass

from m2ugen.data.nano.mma import Groove
from m2ugen.score.attributes import GENRES


def _grooves(metre: str, text: str, beats: int, span: int = 1) -> tuple[Groove, ...]:
    """Grooves from ``file:Name`` words; the library is stdlib unless the file names another."""
    found = []
    for word in text.split():
        file, name = word.split(":")
        found.append(Groove(file if "/" in file else f"stdlib/{file}", name, metre, beats, span))
    return tuple(found)


_FOUR = {
    "rock": "casio/rock1:Rock1 casio/rock2:Rock2 casio/poprock1:PopRock1 casio/poprock2:PopRock2 50srock:50sRock "
    "casio/digitalrock:DigitalRock casio/heavymetal:HeavyMetal casio/shufflerock:ShuffleRock 60srock:60sRock "
    "basicrock:BasicRock softrock:SoftRock folkrock:FolkRock pflib/rock1:rock1A pflib/metal1:metal1A "
    "yamaha/w-rock:W-RockMainA pflib/highfive:highfiveA casio/60srock:60sRock",
    "pop": "casio/pop:Pop casio/8beatpop1:8BeatPop1 casio/8beatpop2:8BeatPop2 casio/80spop:80sPop casio/8beat1:8Beat1 "
    "casio/16beat1:16Beat1 casio/16beat2:16Beat2 casio/popshuffle1:PopShuffle1 casio/soulpop:SoulPop 8beat:8Beat "
    "casio/worldpop:WorldPop bubblerock:BubbleRock boneym:BoneyM pflib/8beat1:8beat1A casio/60spop:60sPop "
    "casio/8beat2:8Beat2 pflib/16beat1:16beat1A",
    "ballad": "popballad:PopBallad rockballad:RockBallad pianoballad:PianoBallad guitarballad:GuitarBallad "
    "stringballad:StringBallad ballad:Ballad folkballad:FolkBallad casio/8beatballad1:8BeatBallad1 lullaby:Lullaby "
    "casio/8beatballad2:8BeatBallad2 casio/16beatballad2:16BeatBallad2 casio/16beatballad3:16BeatBallad3 "
    "casio/popballad:PopBallad rb-ballad:R&B-Ballad casio/oldieballad:OldieBallad slowspiritual:SlowSpiritual "
    "casio/8beatballad3:8BeatBallad3 casio/slowrock:SlowRock",
    "jazz": "swing:Swing easyswing:EasySwing mellowjazz:MellowJazz nitejazz:NiteJazz jazzguitar:JazzGuitar "
    "slowjazz:SlowJazz bigband:BigBand gypsyjazz:GypsyJazz jazzcombo:JazzCombo evansish:Evansish fastswing:FastSwing "
    "casio/swing:Swing casio/jazzcombo:JazzCombo casio/slowbigband:SlowBigBand casio/middlebigband:MiddleBigBand "
    "yamaha/jazztrio:JazzTrioMainA modernjazz:ModernJazz casio/slowswing:SlowSwing",
    "latin": "bossanova:BossaNova samba:Samba salsa:Salsa mambo:Mambo chacha:ChaCha rhumba:Rhumba tango:Tango "
    "lighttango:LightTango beguine:Beguine bolero:Bolero son:Son merengue:Merengue calypso:Calypso "
    "cubanguitar:CubanGuitar casio/latinfusion:LatinFusion yamaha/mambo:MamboMainA yamaha/jazzbossa:JazzBossaA "
    "slowbolero:SlowBolero yamaha/salsa1:Salsa1MainA",
    "blues": "blues:Blues slowblues:SlowBlues fastblues:FastBlues countryblues:CountryBlues "
    "shuffleboggie:ShuffleBoggie boggiewoggie:BoggieWoggie casio/blues:Blues casio/shuffleboogie:ShuffleBoogie "
    "bluefolk:BlueFolk blues128:Blues128",
    "country": "countryswing:CountrySwing westernswing:WesternSwing slowcountry:SlowCountry bluegrass:BlueGrass "
    "hillcountry:HillCountry folk:Folk zydeco:Zydeco kara/kwestballad:kwestballadA yamaha/western:WesternMainA "
    "yamaha/jazzcountry:JazzCountryMainA polka:Polka dixie:Dixie",
    "funk": "casio/funk1:Funk1 casio/funk2:Funk2 casio/fusion:Fusion casio/soul:Soul casio/60ssoul:60sSoul "
    "casio/discosoul:DiscoSoul casio/r+b:R&B casio/mellowrb:MellowRB bvfunk:BVFunk dsoul:DSoul rb:R&B strut:Strut "
    "kara/Kfunk1:Kfunk1A kara/8beatmotown:8beatmotownA casio/16shuffle1:16Shuffle1 casio/modernrb:ModernR&B "
    "lfusion:LFusion",
    "classical": "casio/serenade:Serenade hymn:Hymn arpeggio44:Arpeggio8 arpeggio44:Arpeggio4 march:March1",
    "electronic": "casio/techno:Techno casio/trance1:Trance1 casio/trance2:Trance2 casio/house:House "
    "casio/dance1:Dance1 casio/dance2:Dance2 casio/dancepop1:DancePop1 "
    "casio/dancepop2:DancePop2 casio/rave:Rave casio/triphop:TripHop "
    "casio/hip-hop:Hip-Hop casio/ambient1:Ambient1 casio/ambient2:Ambient2 casio/ambient3:Ambient3 "
    "casio/latinhouse:LatinHouse casio/electricpop:ElectricPop trance:Trance casio/8beatdance:8BeatDance",
}
_THREE = {
    "rock": "rockwaltz:RockWaltz",
    "pop": "casio/popwaltz:PopWaltz waltz:Waltz",
    "ballad": "arpeggiowaltz:ArpeggioWaltz8 casio/popwaltz:PopWaltz broadwaywaltz:BroadwayWaltz",
    "jazz": "jazzwaltz:JazzWaltz modernjazzwaltz:ModernJazzWaltz fastjazzwaltz:FastJazzWaltz "
    "casio/jazzwaltz:JazzWaltz yamaha/jazzwaltz:JazzWaltzMainA",
    "latin": "latinwaltz:LatinWaltz",
    "country": "countrywaltz:CountryWaltz waltz:Waltz1",
    "classical": "waltz:Waltz vienesewaltz:VieneseWaltz arpeggiowaltz:ArpeggioWaltz frenchwaltz:FrenchWaltz",
}
_SIX = {  # beats and span as in Groove
    "rock": ((4, 2, "rock-128:Rock128 rock-128:Rock128Plain"),),
    "pop": ((4, 2, "ballad68:Ballad68"), (6, 1, "casio/68ballad:68Ballad")),
    "ballad": (
        (4, 2, "ballad128:Ballad128 ballad68:Ballad68"),
        (6, 1, "casio/68ballad:68Ballad arpeggio68:Arpeggio68"),
    ),
    "jazz": ((6, 1, "68swing:68Swing 68swing:68Swing1"),),
    "blues": ((6, 1, "blues68:Blues68 blues68:Blues68Walk"), (4, 2, "blues128:Blues128")),
    "country": ((6, 1, "arpeggio68:Arpeggio68"), (4, 2, "ballad68:Ballad68")),
    "classical": ((6, 1, "arpeggio68:Arpeggio68 arpeggio68:Arpeggio68-16"),),
}
GROOVES: dict[str, dict[str, tuple[Groove, ...]]] = {
    genre: {
        "4/4": _grooves("4/4", _FOUR[genre], 4),
        "3/4": _grooves("3/4", _THREE.get(genre, ""), 3),
        "6/8": tuple(g for beats, span, text in _SIX.get(genre, ()) for g in _grooves("6/8", text, beats, span)),
    }
    for genre in GENRES
}
# About a tenth of the grooves: only validation material uses them.
HELD_OUT = frozenset({
    "folkrock:FolkRock", "pflib/highfive:highfiveA", "casio/8beatpop1:8BeatPop1", "boneym:BoneyM",
    "folkballad:FolkBallad", "casio/popballad:PopBallad", "nitejazz:NiteJazz", "casio/swing:Swing", "beguine:Beguine",
    "yamaha/mambo:MamboMainA", "casio/blues:Blues", "countryswing:CountrySwing", "casio/funk2:Funk2", "rb:R&B",
    "hymn:Hymn", "casio/trance1:Trance1", "casio/dancepop2:DancePop2", "casio/jazzwaltz:JazzWaltz",
    "frenchwaltz:FrenchWaltz", "ballad128:Ballad128",
})  # fmt: skip


def groove_id(groove: Groove) -> str:
    """``file:Name``, with the file's library left out for stdlib."""
    return f"{groove.file.removeprefix('stdlib/')}:{groove.name}"


@dataclass(frozen=True)
class Palette:
    """Instruments that suit a genre, by role, the likely ones first, and its usual tempi in beats per minute."""

    lead: tuple[str, ...]
    chords: tuple[str, ...]
    bass: tuple[str, ...]
    pad: tuple[str, ...]
    tempo: tuple[float, float]


def _palette(lead: str, chords: str, bass: str, pad: str, tempo: tuple[float, float]) -> Palette:
    names = [tuple(name.strip() for name in text.split(",")) for text in (lead, chords, bass, pad)]
    return Palette(names[0], names[1], names[2], names[3], tempo)


_G, _E, _D = "acoustic guitar", "electric guitar", "distorted guitar"
PALETTES: dict[str, Palette] = {
    "rock": _palette(f"{_E}, {_D}, saxophone, organ, piano, synth lead, harmonica", f"{_E}, {_D}, organ, piano, {_G}",
                     "electric bass", "organ, strings, synth pad", (95, 170)),
    "pop": _palette("piano, synth lead, flute, saxophone, violin, electric guitar, trumpet, vibraphone, oboe, choir",
                    f"piano, electric piano, {_G}, {_E}, organ, harp", "electric bass, synth bass, acoustic bass",
                    "strings, synth pad, choir", (80, 135)),
    "ballad": _palette("piano, violin, saxophone, flute, cello, oboe, clarinet, trumpet, acoustic guitar, harmonica",
                       f"piano, electric piano, {_G}, harp", "electric bass, acoustic bass, cello",
                       "strings, choir, synth pad, horn", (52, 88)),
    "jazz": _palette("saxophone, trumpet, piano, clarinet, vibraphone, electric guitar, flute, trombone, violin",
                     f"piano, {_E}, vibraphone, organ, electric piano", "acoustic bass", "strings, brass, organ",
                     (80, 190)),
    "latin": _palette("trumpet, flute, saxophone, acoustic guitar, violin, piano, trombone, accordion, vibraphone",
                      f"{_G}, piano, {_E}, accordion, vibraphone", "acoustic bass, electric bass",
                      "strings, brass, choir", (85, 150)),
    "blues": _palette("harmonica, electric guitar, saxophone, piano, trumpet, organ, acoustic guitar, clarinet",
                      f"piano, {_E}, organ, {_G}", "acoustic bass, electric bass", "organ, brass, strings", (65, 150)),
    "country": _palette("violin, banjo, acoustic guitar, harmonica, electric guitar, piano, accordion, flute",
                        f"{_G}, banjo, piano, {_E}, accordion", "acoustic bass, electric bass", "strings, organ",
                        (85, 165)),
    "funk": _palette("saxophone, trumpet, electric guitar, synth lead, electric piano, brass, organ, flute, trombone",
                     f"{_E}, electric piano, organ, piano", "electric bass, synth bass", "brass, strings, synth pad",
                     (85, 125)),
    "classical": _palette("violin, flute, cello, oboe, clarinet, piano, horn, trumpet, harpsichord, choir, harp",
                          "piano, harp, harpsichord, strings, acoustic guitar, organ", "cello, acoustic bass",
                          "strings, choir, horn, organ", (56, 140)),
    "electronic": _palette("synth lead, synth pad, piano, electric piano, vibraphone, flute, choir, electric guitar",
                           "electric piano, synth pad, synth lead, piano, organ", "synth bass, electric bass",
                           "synth pad, strings, choir", (88, 150)),
}  # fmt: skip
ANY_LEAD = tuple(dict.fromkeys(name for palette in PALETTES.values() for name in palette.lead))
ANY_CHORDS = tuple(dict.fromkeys(name for palette in PALETTES.values() for name in palette.chords))
LEAD_CENTRES = {"flute": 77, "violin": 74, "cello": 57, "trombone": 57, "horn": 60, "saxophone": 66, "choir": 67,
                "oboe": 73, "clarinet": 69, "trumpet": 69, "acoustic guitar": 66, "electric guitar": 67,
                "distorted guitar": 66, "banjo": 68, "vibraphone": 74, "brass": 66}  # fmt: skip
LEAD_CENTRE = 71  # of all others
