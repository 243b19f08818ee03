"""The sounds: timbre families, the palette of named instruments, and General MIDI programs.

The model knows twelve timbre *families*. A *palette* instrument is a name a clinician can ask for;
it belongs to one family and sounds with one General MIDI Level 1 program (0-127, numbered from 0).
Percussion and sound effects belong to no family: they cannot sound yet.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Family name -> the General MIDI program that stands for it.
FAMILIES: dict[str, int] = {
    "piano": 0,
    "bells": 11,
    "organ": 19,
    "guitar": 24,
    "bass": 32,
    "strings": 48,
    "harp": 46,
    "voice": 52,
    "brass": 60,
    "reed": 71,
    "flute": 73,
    "pad": 89,
}

#: Where a melody sounds well on each family, MIDI pitch [E]; a motif's two octaves fit in.
RANGES: dict[str, tuple[int, int]] = {
    "piano": (36, 96),
    "bells": (60, 96),
    "organ": (36, 84),
    "guitar": (40, 76),
    "bass": (28, 64),
    "strings": (40, 88),
    "harp": (36, 91),
    "voice": (43, 79),
    "brass": (41, 77),
    "reed": (50, 86),
    "flute": (60, 96),
    "pad": (36, 84),
}

#: Palette name -> (General MIDI program, family).
PALETTE: dict[str, tuple[int, str]] = {
    "piano": (0, "piano"),
    "electric_piano": (4, "piano"),
    "harpsichord": (6, "piano"),
    "celesta": (8, "bells"),
    "glockenspiel": (9, "bells"),
    "music_box": (10, "bells"),
    "vibraphone": (11, "bells"),
    "marimba": (12, "bells"),
    "organ": (19, "organ"),
    "reed_organ": (20, "organ"),
    "accordion": (21, "organ"),
    "guitar": (24, "guitar"),
    "steel_guitar": (25, "guitar"),
    "acoustic_bass": (32, "bass"),
    "fretless_bass": (35, "bass"),
    "violin": (40, "strings"),
    "viola": (41, "strings"),
    "cello": (42, "strings"),
    "pizzicato": (45, "strings"),
    "strings": (48, "strings"),
    "slow_strings": (49, "strings"),
    "harp": (46, "harp"),
    "koto": (107, "harp"),
    "choir": (52, "voice"),
    "voice": (53, "voice"),
    "trumpet": (56, "brass"),
    "trombone": (57, "brass"),
    "horn": (60, "brass"),
    "alto_sax": (65, "reed"),
    "oboe": (68, "reed"),
    "english_horn": (69, "reed"),
    "bassoon": (70, "reed"),
    "clarinet": (71, "reed"),
    "flute": (73, "flute"),
    "recorder": (74, "flute"),
    "pan_flute": (75, "flute"),
    "ocarina": (79, "flute"),
    "warm_pad": (89, "pad"),
    "choir_pad": (91, "pad"),
    "halo_pad": (94, "pad"),
}

# First and last program of each run of programs that share a family. Synthesizer leads go with the
# wind they imitate; the orchestra hit (55) and the timpani (47) are percussive, so they have none.
_RUNS: tuple[tuple[int, int, str], ...] = (
    (0, 7, "piano"),
    (8, 15, "bells"),
    (16, 23, "organ"),
    (24, 31, "guitar"),
    (32, 39, "bass"),
    (40, 45, "strings"),
    (46, 46, "harp"),
    (48, 51, "strings"),
    (52, 54, "voice"),
    (56, 63, "brass"),
    (64, 71, "reed"),
    (72, 79, "flute"),
    (80, 81, "reed"),
    (82, 83, "flute"),
    (84, 84, "reed"),
    (85, 85, "voice"),
    (86, 86, "reed"),
    (87, 87, "bass"),
    (88, 97, "pad"),
    (98, 98, "bells"),
    (99, 103, "pad"),
    (104, 106, "guitar"),
    (107, 107, "harp"),
    (108, 108, "bells"),
    (109, 109, "reed"),
    (110, 110, "strings"),
    (111, 111, "reed"),
)


def _family_table() -> NDArray[np.int64]:
    table = np.full(129, -1, dtype=np.int64)
    names = list(FAMILIES)
    for first, last, family in _RUNS:
        table[first : last + 1] = names.index(family)
    table.flags.writeable = False
    return table


#: Index into `FAMILIES` of each program, -1 for none. Entry 128 is the percussion channel, so a
#: program column of `Notes` indexes it directly.
FAMILY_OF_PROGRAM: NDArray[np.int64] = _family_table()
