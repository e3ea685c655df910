# ruff: noqa: E501
"""The words people use for musical attributes: data only, read by m2ugen.score.lexicon.

Every list is comma separated, lower case and without hyphens (the reader turns them into spaces); plurals in -s
are understood without being listed.
"""

from __future__ import annotations

from dataclasses import dataclass

INSTRUMENT_WORDS: dict[str, str] = {  # the first word is the one we say
    "piano": "piano, grand piano, acoustic piano, upright piano, pianist, pianoforte, honky tonk piano",
    "electric piano": "electric piano, rhodes, wurlitzer, e piano, keyboard, keyboards, keys, electric keyboard, fender rhodes, rhodes piano, fender rhodes piano, wurlitzer piano, digital piano",
    "harpsichord": "harpsichord, clavinet, clavichord, spinet",
    "vibraphone": "vibraphone, vibes, marimba, xylophone, glockenspiel, celesta, music box, mallets, bells, steel drum, steel drums, "
    "steelpan, kalimba, chimes, tubular bells",
    "organ": "organ, hammond, hammond organ, pipe organ, church organ, electric organ, organist",
    "accordion": "accordion, concertina, bandoneon, melodica",
    "harmonica": "harmonica, mouth organ, blues harp",
    "acoustic guitar": "acoustic guitar, classical guitar, nylon guitar, nylon string guitar, spanish guitar, flamenco guitar, "
    "steel string guitar, fingerpicked guitar, ukulele, sitar, koto, acoustic rhythm guitar, lute, oud, twelve string guitar",
    "electric guitar": "electric guitar, e guitar, clean guitar, jazz guitar, lead guitar, muted guitar, slide guitar, electric guitars",
    "distorted guitar": "distorted guitar, distorted electric guitar, overdriven guitar, distortion guitar, heavy guitar, metal guitar, "
    "power chords, guitar riff, crunchy guitar, fuzzy guitar, distorted e guitar, fuzz guitar",
    "banjo": "banjo, mandolin, bouzouki",
    "acoustic bass": "acoustic bass, double bass, upright bass, contrabass, standup bass, walking bass, string bass",
    "electric bass": "electric bass, bass guitar, e bass, slap bass, fretless bass, fingered bass",
    "synth bass": "synth bass, synthesizer bass, 808 bass, sub bass, synthesised bass",
    "violin": "violin, fiddle, viola, solo strings, violinist",
    "cello": "cello, violoncello, cellist",
    "strings": "strings, string section, string ensemble, orchestral strings, violins, string orchestra, string instruments, pizzicato",
    "harp": "harp, lyre",
    "choir": "choir, chorus, choral voices, voices, choir voices, vocal pad, oohs, aahs",
    "trumpet": "trumpet, cornet, flugelhorn, muted trumpet",
    "trombone": "trombone, tuba, euphonium, sousaphone",
    "horn": "horn, french horn",
    "brass": "brass, brass section, horn section, brass instruments, horns, brass ensemble",
    "saxophone": "saxophone, sax, alto sax, tenor sax, soprano sax, baritone sax, alto saxophone, tenor saxophone",
    "oboe": "oboe, english horn, bassoon, bagpipes, bagpipe, cor anglais, shehnai",
    "clarinet": "clarinet, bass clarinet",
    "flute": "flute, piccolo, recorder, pan flute, panpipes, whistle, tin whistle, ocarina, shakuhachi, bansuri, flautist",
    "synth lead": "synth lead, lead synth, synthesizer, synthesiser, synth, square lead, saw lead, theremin, synth melody, arpeggiator",
    "synth pad": "synth pad, pad, synth pads, warm pad, synth strings, ambient pad, synthesizer pad, synth chords, atmospheric pad",
    "drums": "drums, drum, drum kit, drum set, drumbeat, drum beat, percussion, percussions, beats, drummer, kick, snare, kick drum, "
    "snare drum, bass drum, hi hat, hi hats, hihat, hihats, cymbals, cymbal, kick and snare, drum machine, electronic drums, acoustic drums, "
    "congas, bongos, bongo, tabla, djembe, tambourine, shaker, toms, rimshot, cowbell, timpani, hand drums, brushes, backbeat, "
    "drumming, drum track, four on the floor, boom bap",
}

# A word that names a family: every member counts in a question or a negation; in a request the genre decides.
FAMILY_WORDS: dict[str, tuple[str, ...]] = {
    "guitar": ("acoustic guitar", "electric guitar", "distorted guitar"),
    "bass": ("electric bass", "acoustic bass", "synth bass"),
    "bassline": ("electric bass", "acoustic bass", "synth bass"),
    "bass line": ("electric bass", "acoustic bass", "synth bass"),
    "woodwind": ("flute", "clarinet", "oboe", "saxophone"),
    "wind instrument": ("flute", "clarinet", "oboe", "saxophone"),
}
FAMILY_CHOICE: dict[str, dict[str, str]] = {  # first member of the family → genre → the member meant
    "acoustic guitar": {
        "rock": "electric guitar",
        "blues": "electric guitar",
        "funk": "electric guitar",
        "jazz": "electric guitar",
    },
    "electric bass": {"jazz": "acoustic bass", "electronic": "synth bass", "classical": "acoustic bass"},
}
# What else "no strings" or "no brass" rules out.
NEGATED_ALSO: dict[str, tuple[str, ...]] = {
    "strings": ("violin", "cello"),
    "brass": ("trumpet", "trombone", "horn"),
    "synth lead": ("synth pad",),
    "piano": ("electric piano",),
    "electric guitar": ("distorted guitar",),
}
NUMBER_WORDS = {"one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
# Sounds that people ask for and none of our instruments comes near to.
UNPLAYABLE_WORDS = (
    "didgeridoo, kazoo, shamisen, erhu, pipa, guzheng, hurdy gurdy, zither, dulcimer, balalaika, mellotron, vocoder, "
    "turntables, scratching, beatbox, beatboxing, castanets, gong, jaw harp, musical saw, lyrics, "
    "vocals, vocal, vocalist, singer, singers, singing, rapper, rapping, yodeling, birdsong, sound effects"
)
VOICE_WORDS = "vocals, vocal, voice, voices, singing, singer, singers, vocalist, lyrics, choir"


@dataclass(frozen=True)
class Hint:
    """What a word says about the music; None = nothing. ``kind`` is genre, ensemble, mood or scene."""

    kind: str
    genre: str | None = None
    metre: str | None = None
    mode: str | None = None
    energy: int | None = None
    tempo: float | None = None
    drums: bool | None = None
    instruments: tuple[str, ...] = ()


def _table(kind: str, rows: list[tuple[str, dict]]) -> dict[str, Hint]:
    return {word.strip(): Hint(kind, **values) for words, values in rows for word in words.split(",")}


GENRE_WORDS = _table(
    "genre",
    [
        (
            "rock, rock and roll, rock n roll, classic rock, indie, indie rock, alternative rock, pop rock, alternative, surf rock",
            {"genre": "rock"},
        ),
        ("hard rock, punk, punk rock, garage rock, grunge", {"genre": "rock", "energy": 4}),
        (
            "metal, heavy metal, death metal, thrash metal, metalcore",
            {"genre": "rock", "energy": 4, "mode": "minor", "instruments": ("distorted guitar",)},
        ),
        ("soft rock, psychedelic rock", {"genre": "rock", "energy": 2}),
        (
            "pop, pop song, pop music, k pop, britpop, teen pop, dance pop, synth pop, synthpop, christmas, christmas carol",
            {"genre": "pop"},
        ),
        ("children's song, kids song, nursery rhyme, children song, kids music", {"genre": "pop", "mode": "major"}),
        ("ballad, love song, singer songwriter, torch song, love ballad, pop ballad", {"genre": "ballad"}),
        ("power ballad, rock ballad", {"genre": "ballad", "energy": 3}),
        ("lullaby, cradle song, bedtime song", {"genre": "ballad", "energy": 0, "tempo": 68.0, "drums": False}),
        ("jazz, jazzy, cool jazz, jazz music, lounge, lounge music, jazz standard", {"genre": "jazz"}),
        ("jazz ballad", {"genre": "jazz", "energy": 1, "tempo": 66.0}),
        ("smooth jazz", {"genre": "jazz", "energy": 1}),
        ("swing, swing music, big band swing, dixieland, ragtime, gypsy jazz", {"genre": "jazz", "energy": 3}),
        ("bebop", {"genre": "jazz", "energy": 4, "tempo": 190.0}),
        (
            "latin, salsa, mambo, rumba, merengue, cumbia, cha cha, cha cha cha, afro cuban, calypso, bolero, mariachi, latin music, beguine, "
            "regional mexican, bachata, latin jazz, reggaeton",
            {"genre": "latin"},
        ),
        ("bossa nova, bossa", {"genre": "latin", "energy": 1}),
        ("samba", {"genre": "latin", "energy": 3}),
        ("tango, flamenco", {"genre": "latin", "mode": "minor"}),
        ("reggae, ska, dub, dancehall", {"genre": "latin"}),
        ("blues, bluesy, twelve bar blues, 12 bar blues, delta blues, gospel", {"genre": "blues"}),
        ("boogie, boogie woogie, shuffle, rhythm and blues", {"genre": "blues", "energy": 3}),
        (
            "country, country music, country and western, folk, folk music, folk song, bluegrass, americana, folk rock, celtic, irish, western, "
            "sea shanty, hoedown, country rock, country song, irish folk",
            {"genre": "country"},
        ),
        ("polka", {"genre": "country", "energy": 3, "instruments": ("accordion",)}),
        ("jig, irish jig", {"genre": "country", "energy": 3, "metre": "6/8"}),
        ("reel", {"genre": "country", "energy": 3, "metre": "4/4"}),
        (
            "funk, funky, soul, soul music, r&b, rnb, motown, disco, neo soul, jazz funk, soulful, groovy",
            {"genre": "funk"},
        ),
        ("hip hop, hiphop, rap, boom bap beat", {"genre": "funk", "tempo": 92.0, "drums": True}),
        (
            "classical, classical music, baroque, baroque music, symphonic, orchestral, symphony, chamber music, sonata, minuet, menuet, fugue, "
            "western classical, choral, chorale, hymn, opera, renaissance, concerto, prelude, etude, nocturne, film score, soundtrack, movie soundtrack, "
            "movie music, cinematic, neoclassical, orchestral music, film music",
            {"genre": "classical"},
        ),
        ("march, military march", {"genre": "classical", "metre": "4/4", "tempo": 116.0, "energy": 3}),
        (
            "electronic, electronic music, electronica, edm, electronic dance music, house music, deep house, electro, electro pop, synthwave, "
            "dance music, dance track, club music, eurodance, dubstep, techno music, chiptune, 8 bit, progressive house, vaporwave, "
            "video game music, trap, idm, electronic pop, house beat",
            {"genre": "electronic"},
        ),
        (
            "techno, trance, rave, hardstyle",
            {"genre": "electronic", "energy": 3, "tempo": 132.0, "metre": "4/4", "drums": True},
        ),
        (
            "drum and bass, drum n bass, dnb, jungle music",
            {"genre": "electronic", "energy": 4, "tempo": 172.0, "metre": "4/4", "drums": True},
        ),
        (
            "ambient, ambient music, new age, drone music, meditation music, spa music",
            {"genre": "electronic", "energy": 0, "tempo": 66.0, "drums": False},
        ),
        (
            "chillout, chill out, downtempo, lo fi, lofi, lo fi hip hop, lofi hip hop, trip hop, chillwave, lo fi beats",
            {"genre": "electronic", "energy": 1, "tempo": 80.0},
        ),
    ],
)
ENSEMBLE_WORDS = _table(
    "ensemble",
    [
        ("rock band", {"genre": "rock", "drums": True, "instruments": ("electric guitar", "electric bass", "drums")}),
        ("jazz trio, piano trio", {"genre": "jazz", "drums": True, "instruments": ("piano", "acoustic bass", "drums")}),
        (
            "jazz band, jazz combo, jazz quartet",
            {"genre": "jazz", "drums": True, "instruments": ("saxophone", "piano", "acoustic bass", "drums")},
        ),
        ("big band", {"genre": "jazz", "drums": True, "instruments": ("brass", "saxophone", "acoustic bass", "drums")}),
        ("string quartet, string trio", {"genre": "classical", "drums": False, "instruments": ("violin", "cello")}),
        (
            "orchestra, symphony orchestra, philharmonic orchestra, full orchestra",
            {"genre": "classical", "instruments": ("strings",)},
        ),
        ("brass band, marching band", {"drums": True, "instruments": ("brass", "drums")}),
        (
            "country band",
            {"genre": "country", "drums": True, "instruments": ("acoustic guitar", "electric bass", "drums")},
        ),
    ],
)
METRE_WORDS: dict[str, str] = {
    "3/4": "3/4, waltz, waltzes, waltz time, triple metre, triple meter, three four, 3 4 time, three quarter time, triple time, viennese waltz, minuet",
    "4/4": "4/4, common time, four four, 4 4 time, 2/4, quadruple metre, duple metre, duple meter, two four",
    "6/8": "6/8, 12/8, six eight, 6 8 time, compound time, compound metre, compound meter, jig, siciliana, barcarolle",
}
MOOD_WORDS = _table(
    "mood",
    [
        ("happy, cheerful, joyful, joyous, merry, cheery, jolly, glad, feel good", {"mode": "major", "energy": 3}),
        ("bright, positive, optimistic, sunny, uplifting, lighthearted, carefree", {"mode": "major", "energy": 3}),
        ("playful, bouncy, funny, quirky, festive, whimsical, fun", {"mode": "major", "energy": 3}),
        (
            "sad, melancholic, melancholy, mournful, sorrowful, gloomy, depressing, somber, sombre, heartbroken, heartbreaking, tearful, grieving, "
            "lonely, bittersweet, wistful",
            {"mode": "minor", "energy": 1},
        ),
        ("dark, ominous, sinister, menacing, brooding, gothic, evil", {"mode": "minor"}),
        (
            "mysterious, eerie, spooky, haunting, creepy, scary, ghostly, uncanny, mystical",
            {"mode": "minor", "energy": 1},
        ),
        (
            "tense, suspenseful, suspense, anxious, nervous, dramatic, urgent, threatening, ticking",
            {"mode": "minor", "energy": 3},
        ),
        ("angry, aggressive, furious, violent, brutal, fierce, raging", {"mode": "minor", "energy": 4}),
        ("triumphant, heroic, victorious, majestic, glorious, proud", {"mode": "major", "energy": 4}),
        (
            "epic, powerful, intense, wild, explosive, bombastic, thunderous, ecstatic, frantic, frenzied, high energy, full of energy, very high energy",
            {"energy": 4},
        ),
        ("romantic, tender, loving, sweet, heartwarming, heartfelt, charming", {"mode": "major", "energy": 1}),
        ("warm, innocent, hopeful, inspiring", {"mode": "major"}),
        (
            "calm, relaxing, relaxed, peaceful, soothing, gentle, quiet, calming, soft, mellow, tranquil, serene, chill, chilled, laid back, easygoing, restful, "
            "low energy, delicate, intimate, placid, meditative, subdued, cozy",
            {"energy": 1},
        ),
        ("very low energy, hushed, motionless, barely there, sleepy", {"energy": 0}),
        (
            "dreamy, ethereal, floating, hypnotic, atmospheric, reflective, nostalgic, sentimental, pensive, contemplative, airy",
            {"energy": 1},
        ),
        ("moderate energy, medium energy, moderately energetic, balanced", {"energy": 2}),
        (
            "energetic, lively, exciting, upbeat, driving, spirited, vibrant, enthusiastic, danceable, vivacious, animated, rousing, passionate, "
            "vigorous, pumping, adventurous, dynamic, loud, party",
            {"energy": 3},
        ),
    ],
)
SCENE_WORDS = _table(
    "scene",
    [
        (
            "car chase, chase scene, action scene, battle, boss fight, fight scene, war scene",
            {"mode": "minor", "energy": 4},
        ),
        ("workout, running, gym, sports, sport, race, extreme sports", {"energy": 4}),
        ("road trip, driving at night, party scene, dance floor, birthday party, festival", {"energy": 3}),
        ("wedding, first dance, love scene, candlelight dinner, romantic dinner", {"mode": "major", "energy": 1}),
        ("funeral, farewell, goodbye scene, rainy day, heartbreak, sad scene", {"mode": "minor", "energy": 1}),
        ("horror movie, haunted house, horror, ghost story, thriller", {"mode": "minor", "energy": 1}),
        ("sleep, falling asleep, bedtime, meditation, yoga, spa", {"energy": 0}),
        (
            "studying, study, reading, coffee shop, cafe, homework, concentration, sunset, rainy evening, background music",
            {"energy": 1},
        ),
        (
            "comedy, cartoon, commercial, advertisement, kids show, picnic, summer holiday",
            {"mode": "major", "energy": 3},
        ),
        ("hero's return, victory, award ceremony, fireworks", {"mode": "major", "energy": 4}),
        ("nature documentary, morning walk, sunrise, walk in the park", {"mode": "major", "energy": 1}),
    ],
)
TEMPO_WORDS: list[tuple[str, float]] = [  # words → a tempo in the middle of what they mean
    ("very slow, extremely slow, largo, grave, super slow, really slow, lento", 54.0),
    ("slow, slow tempo, slower tempo, adagio, slowly, slow paced, unhurried, larghetto, slow moving", 72.0),
    (
        "medium, medium tempo, moderate, moderate tempo, mid tempo, midtempo, andante, moderato, medium paced, walking pace, average tempo",
        102.0,
    ),
    (
        "fast, fast tempo, uptempo, up tempo, quick, allegro, brisk, fast paced, rapid, quickly, vivace, medium fast tempo, medium to uptempo",
        140.0,
    ),
    ("very fast, extremely fast, presto, super fast, really fast, breakneck, prestissimo, lightning fast", 178.0),
]
TEMPO_CLASSES: list[tuple[str, float, float]] = [  # name, from, below (beats per minute)
    ("very slow", 0.0, 62.0),
    ("slow", 62.0, 86.0),
    ("medium", 86.0, 120.0),
    ("fast", 120.0, 166.0),
    ("very fast", 166.0, 1e9),
]
ENERGY_ADJECTIVES = ("very calm", "calm", "moderately energetic", "energetic", "very energetic")

TYPOS = {
    "jaz": "jazz",
    "jass": "jazz",
    "fats": "fast",
    "slwo": "slow",
    "rokc": "rock",
    "rythm": "rhythm",
    "sda": "sad",
    "drumz": "drums",
    "bas": "bass",
}

# Common words one letter away from ours: never "corrected".
NOT_TYPOS = frozenset(
    [
        "minute",
        "minutes",
        "place",
        "plane",
        "plain",
        "paint",
        "panic",
        "beach",
        "bleach",
        "slowly",
        "quiet",
        "quite",
        "quit",
        "floor",
        "flown",
        "horse",
        "house",
        "hours",
        "honey",
        "store",
        "story",
        "moved",
        "model",
        "major",
        "minor",
        "minors",
        "organs",
        "organic",
        "lone",
        "loner",
        "long",
        "light",
        "might",
        "night",
        "right",
        "sight",
        "sound",
        "pound",
        "round",
        "found",
        "trace",
        "trade",
        "happen",
        "bases",
        "based",
        "board",
        "brand",
        "brands",
        "grand",
        "piece",
        "peace",
        "pieces",
        "drama",
        "dream",
        "dreams",
        "truth",
        "truck",
        "waste",
        "watch",
        "sweat",
        "sweet",
        "heat",
        "sold",
        "solid",
        "soil",
        "soon",
        "form",
        "four",
        "could",
        "would",
        "group",
        "grove",
        "groups",
        "class",
        "classes",
        "glass",
        "lively",
        "live",
        "lives",
        "living",
        "violet",
        "trumped",
        "flutes",
        "brass",
        "grass",
        "trail",
        "train",
        "start",
        "stars",
        "street",
        "stretch",
        "spring",
        "string",
        "strong",
        "stringed",
        "beats",
        "beast",
        "boats",
        "boots",
        "looks",
        "books",
        "moods",
        "woods",
        "carve",
        "carol",
        "grace",
        "graves",
        "slower",
        "faster",
        "easter",
        "master",
        "harder",
        "tender",
        "render",
        "gender",
        "sender",
        "danger",
        "dancer",
        "dancers",
        "clam",
        "claim",
        "charm",
        "chart",
        "charts",
        "charge",
        "darks",
        "bark",
        "dance",
        "dances",
        "singer",
        "single",
        "simple",
        "sample",
        "singing",
        "swing",
        "swinging",
        "sing",
        "sings",
        "voice",
        "voices",
        "vocals",
        "vocal",
        "local",
        "loved",
        "lover",
        "lovers",
        "quickly",
        "lonely",
        "medium",
        "media",
        "mellow",
        "yellow",
        "fellow",
        "follow",
        "popular",
        "party",
        "pretty",
        "partly",
        "chili",
        "child",
        "children",
        "calmer",
        "chord",
        "chords",
        "melodic",
        "part",
        "parts",
        "concert",
        "bell",
        "side",
        "sides",
        "jingle",
        "american",
        "vibe",
        "eighth",
        "chime",
        "conga",
        "harmonic",
        "overdrive",
        "racing",
        "likely",
        "done",
        "sort",
        "sorts",
        "doubled",
        "related",
        "disc",
        "ranging",
        "lovely",
        "cheesy",
        "move",
        "moves",
        "placed",
        "filling",
        "dreary",
        "losing",
        "strung",
        "packed",
        "dream",
        "mourning",
        "moving",
        "cheeky",
        "calling",
        "diner",
        "synthesized",
        "lower",
        "power",
        "shower",
        "flower",
        "tower",
    ]
)
