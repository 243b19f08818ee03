"""Consonance of notes: how smooth, how harmonic and how familiar the chords of a piece are.

Conventions
-----------
* `Chords` is a boolean array (n, 128): which MIDI pitches sound together. A sonority is a chord and
  the seconds it sounds for. Octaves count; a pitch struck twice counts once; drums do not.
* A note is heard as a harmonic tone of `HARMONICS` partials of amplitude 1/n in equal temperament
  (A4 = 440 Hz). Partials that coincide add their powers.
* Spectra are pairs of arrays (..., m): frequencies in Hz and amplitudes (linear, 0 where there is
  no partial), so the same two roughness models serve notes and the spectral peaks of a sound.

Sources: Hutchinson & Knopoff, "The acoustic component of Western consonance", Interface 7, 1978, in
the form of Mashinter, "Calculating sensory dissonance", Empirical Musicology Review 1(2), 2006;
Sethares, "Tuning, Timbre, Spectrum, Scale", 2nd ed., 2005; Milne, "A computational model of the
cognition of tonality", 2013, and Harrison & Pearce, "An energy-based generative sequence model",
ISMIR 2018 (harmonicity); Harrison & Pearce, "Simultaneous consonance in music perception and
composition", Psychological Review 127(2), 2020 (the composite, without its term of chord size,
which its authors hold for a confound of their data).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.notes import DRUMS, Floats, Notes

Chords = NDArray[np.bool_]

PITCHES = 128
HARMONICS = 11  # Harrison & Pearce 2020
CRITICAL_BANDWIDTH = (1.72, 0.65)  # Hz at f: 1.72·f^0.65, Hutchinson & Knopoff 1978
CUT_OFF = 1.2  # critical bandwidths; further apart, partials do not interfere (Mashinter 2006)
ROWS_AT_ONCE = 64  # spectra, of like numbers of partials, whose pairs are held in memory

MILNE_BINS = 1200  # of a cent each
MILNE_SIGMA = 6.83  # cents, Milne 2013
MILNE_REACH = 81  # cents; the Gaussian is cut at 12 standard deviations
MILNE_DECAY = 0.75  # a partial n weighs n^-0.75

COMPOSITE = {  # Harrison & Pearce 2020, table of the regression; unrounded in their R package incon
    "intercept": 0.628434666589357,
    "roughness": -1.62001025973261,
    "harmonicity": 1.77992362857478,
    "corpus_dissonance": -0.0892234643584134,
}

# How often each chord type is written in the McGill Billboard transcriptions (Burgoyne, Wild &
# Fujinaga, "An expert ground truth set for audio chord recognition", ISMIR 2011; annotations CC0),
# as counted in `popular_1_pc_chord_type` of the R package incon 0.5.0 (P. M. C. Harrison, MIT).
# A type is the set of intervals above the bass: bit 11 - i for i semitones, in hexadecimal.
# Types that are absent were not found.
BILLBOARD = """
0:1518 2:22 8:6 10:1431 12:103 14:1 18:1 24:13 40:59 42:74 44:1940 48:258 4a:10 50:939 52:645 54:52
58:1 5a:1 60:4 80:3 81:2 84:297 88:39 89:6 8a:71 90:34894 91:1757 92:5595 94:838 95:8 96:16 99:1
9a:15 a2:13 a4:15 a8:5 b0:10 b1:29 b2:27 b5:1 c4:12 c8:8 d0:52 d2:3 d6:1 100:3 102:20 104:16
108:1303 10a:60 110:7857 111:16 112:5376 114:118 115:1 118:75 11a:20 120:164 121:8 122:167 124:30
125:5 128:181 12a:17 12c:13 134:1 138:2 140:4 142:17 144:185 148:186 14a:7 150:65 152:61 154:22
158:5 15a:2 162:2 164:3 190:36 191:1 192:203 19a:1 1a8:4 200:2 202:10 204:10 210:186 211:352 212:211
214:15 224:432 225:2 230:1 231:2 234:1 235:1 240:17 241:4 242:820 244:462 246:51 248:88 24a:2 250:83
251:39 252:739 254:13 256:42 258:1 259:1 272:2 288:2 28a:1 290:786 291:432 292:230 294:158 295:71
296:117 29a:4 2b0:1 2b1:8 2b2:4 2b5:11 2b6:7 2c4:11 2d2:236 2d4:5 310:100 312:544 318:3 31a:2 324:3
342:19 350:2 352:179 356:6 422:9 428:1 442:5 444:3 448:222 44a:41 452:4 484:3 488:1 490:6 492:93
494:5 49a:11 4a2:1 4b2:2 512:43 522:55 528:1 644:3
"""
CHORD_TYPES = 2048


@dataclass(frozen=True, slots=True)
class Consonance:
    """Means over the sounding time of the chords (two pitches or more) of a piece."""

    composite: float
    """Harrison & Pearce 2020: about 3.1 for an octave, 1.9 for a major triad, 0 for a cluster."""
    roughness: float
    """Hutchinson & Knopoff: 0 is smooth, 0.12 a major triad, 0.5 a semitone."""
    dissonance: float
    """Sethares, of partials whose fundamental has amplitude 1."""
    harmonicity: float
    """Bits by which the chord's likeness to harmonic tones is away from uniform."""
    corpus_dissonance: float
    """Nats of surprise at the chord type, given its count in popular music."""
    seconds: float
    """Time over which chords sound."""


def consonance(notes: Notes) -> Consonance:
    """Time-weighted means over the chords of a piece; ValueError where no two pitches coincide."""
    chords, seconds = sonorities(notes)
    if len(chords) == 0:
        raise ValueError(f"no two pitches of {len(notes)} notes sound together; legal are chords")
    spectra = partials(chords)
    rough = hutchinson_knopoff(*spectra)
    harmonic = harmonicity(chords)
    familiar = corpus_dissonance(chords)
    share = seconds / seconds.sum()
    return Consonance(
        composite=float(share @ _composite(rough, harmonic, familiar)),
        roughness=float(share @ rough),
        dissonance=float(share @ sethares(*spectra)),
        harmonicity=float(share @ harmonic),
        corpus_dissonance=float(share @ familiar),
        seconds=float(seconds.sum()),
    )


# ---------------------------------------------------------------- chords


def as_chords(pitches: Sequence[Collection[int]]) -> Chords:
    """(n, 128) from n collections of MIDI pitches."""
    chords = np.zeros((len(pitches), PITCHES), dtype=bool)
    for row, chord in zip(chords, pitches, strict=True):
        wrong = sorted(pitch for pitch in chord if pitch not in range(PITCHES))
        if wrong or not chord:
            raise ValueError(f"chord {sorted(chord)}; legal are one or more pitches 0 to 127")
        row[list(chord)] = True
    return chords


def sonorities(notes: Notes) -> tuple[Chords, Floats]:
    """The distinct chords of two pitches or more, (n, 128), and how many seconds each sounds."""
    notes = notes.select(notes.program != DRUMS)
    event = np.concatenate([notes.onset, notes.release])
    times, step = np.unique(event, return_inverse=True)
    change = np.zeros((len(times), PITCHES), dtype=np.int16)
    sign = np.repeat(np.array([1, -1], dtype=np.int16), len(notes))
    np.add.at(change, (step, np.tile(notes.pitch, 2)), sign)
    sounding = np.cumsum(change, axis=0, dtype=np.int16)[:-1] > 0
    seconds = np.diff(notes.tempo.seconds(times))
    chordal = sounding.sum(axis=1) >= 2
    packed = np.packbits(sounding[chordal], axis=1)
    distinct, which = np.unique(packed, axis=0, return_inverse=True)
    total = np.zeros(len(distinct))
    np.add.at(total, which.ravel(), seconds[chordal])
    return np.unpackbits(distinct, axis=1).astype(bool), total


def partials(chords: Chords) -> tuple[Floats, Floats]:
    """Frequencies in Hz and amplitudes, (n, m) each, ascending; amplitude 0 pads the short rows."""
    hertz, powers = _partial_powers()
    amplitude = np.sqrt(chords.astype(np.float64) @ powers)
    order = np.argsort(amplitude == 0, axis=1, kind="stable")
    order = order[:, : np.count_nonzero(amplitude, axis=1).max(initial=0)]
    return hertz[order], np.take_along_axis(amplitude, order, axis=1)


@cache
def _partial_powers() -> tuple[Floats, Floats]:
    """Every frequency that a partial of some pitch has, (g,), and its power by pitch, (128, g)."""
    number = np.arange(1, HARMONICS + 1)
    place = np.round(np.arange(PITCHES)[:, None] + 12 * np.log2(number), 6)
    places, column = np.unique(place, return_inverse=True)
    powers = np.zeros((PITCHES, len(places)))
    powers[np.arange(PITCHES)[:, None], column.reshape(place.shape)] = number**-2.0
    return 440.0 * 2 ** ((places - 69) / 12), powers


# ---------------------------------------------------------------- roughness of spectra


def hutchinson_knopoff(frequencies: Floats, amplitudes: Floats) -> Floats:
    """Roughness (...) of spectra (..., m), whatever their level; 0 for an empty one."""
    power = (amplitudes**2).sum(axis=-1)
    rough = _over_pairs(_interference, frequencies, amplitudes)
    return np.divide(rough, power, out=np.zeros_like(rough), where=power > 0)


def sethares(frequencies: Floats, amplitudes: Floats) -> Floats:
    """Dissonance (...) of spectra (..., m), proportional to amplitude."""
    return _over_pairs(_plomp_levelt, frequencies, amplitudes)


def _interference(low: Floats, high: Floats, of_low: Floats, of_high: Floats) -> Floats:
    scale, exponent = CRITICAL_BANDWIDTH
    apart = (high - low) / (scale * ((low + high) / 2) ** exponent)
    factor = (4 * apart * np.exp(1 - 4 * apart)) ** 2
    return np.where(apart <= CUT_OFF, of_low * of_high * factor, 0.0)


def _plomp_levelt(low: Floats, high: Floats, of_low: Floats, of_high: Floats) -> Floats:
    apart = 0.24 / (0.021 * low + 19) * (high - low)
    return np.minimum(of_low, of_high) * (np.exp(-3.5 * apart) - np.exp(-5.75 * apart))


def _over_pairs(
    model: Callable[[Floats, Floats, Floats, Floats], Floats],
    frequencies: Floats,
    amplitudes: Floats,
) -> Floats:
    """Sum of `model` (low Hz, high Hz, their amplitudes) over the pairs of each spectrum."""
    *shape, m = frequencies.shape
    hertz, height = (array.reshape(math.prod(shape), m) for array in (frequencies, amplitudes))
    order = np.argsort(np.where(height > 0, hertz, np.inf), axis=1)
    count = np.count_nonzero(height, axis=1)
    by_count = np.argsort(count)
    total = np.zeros(len(hertz))
    for start in range(0, len(total), ROWS_AT_ONCE):
        rows = by_count[start : start + ROWS_AT_ONCE, None]
        column = order[rows[:, 0], : count[rows].max()]
        f, a = hertz[rows, column], height[rows, column]
        low, high = np.triu_indices(f.shape[1], 1)
        total[rows[:, 0]] = model(f[:, low], f[:, high], a[:, low], a[:, high]).sum(axis=1)
    return total.reshape(shape)


# ---------------------------------------------------------------- harmonicity


def harmonicity(chords: Chords) -> Floats:
    """(n,) bits of Kullback-Leibler divergence from uniform (Harrison & Pearce 2018).

    The chord's pitch-class spectrum is likened (cosine) to that of a harmonic tone on every cent.
    """
    octaves = np.pad(chords, ((0, 0), (0, -PITCHES % 12))).reshape(len(chords), -1, 12)
    distinct, which = np.unique(octaves.any(axis=1), axis=0, return_inverse=True)
    tone = np.fft.rfft(_milne_tone())
    onsets = np.zeros((len(distinct), MILNE_BINS))
    onsets[:, :: MILNE_BINS // 12] = distinct
    spectrum = np.fft.rfft(onsets) * tone
    likeness = np.fft.irfft(spectrum * tone.conj(), MILNE_BINS).clip(1e-300)
    share = likeness / likeness.sum(axis=1, keepdims=True)
    bits = (share * np.log2(share * MILNE_BINS)).sum(axis=1)
    return bits[which.ravel()]


@cache
def _milne_tone() -> Floats:
    """(1200,): the pitch-class spectrum of a harmonic tone on C, smeared by hearing."""
    cents = np.arange(-MILNE_REACH, MILNE_REACH + 1)
    smear = np.exp(-((cents / MILNE_SIGMA) ** 2) / 2)
    number = np.arange(1, HARMONICS + 1)
    place = np.rint(MILNE_BINS * np.log2(number)).astype(np.int64)
    tone = np.zeros(MILNE_BINS)
    np.add.at(tone, (place[:, None] + cents) % MILNE_BINS, smear * number[:, None] ** -MILNE_DECAY)
    return tone


# ---------------------------------------------------------------- familiarity and the composite


def corpus_dissonance(chords: Chords) -> Floats:
    """(n,) nats: -ln of the chord type's share in popular music, each type counted once more."""
    pitch = np.arange(PITCHES)
    interval = (pitch - chords.argmax(axis=1)[:, None]) % 12
    bits = np.where(chords & (interval > 0), 1 << (11 - interval), 0)
    return _surprise()[np.bitwise_or.reduce(bits, axis=1)]


@cache
def _surprise() -> Floats:
    counts = np.ones(CHORD_TYPES)
    for entry in BILLBOARD.split():
        kind, count = entry.split(":")
        counts[int(kind, 16)] += int(count)
    return -np.log(counts / counts.sum())


def harrison_pearce(chords: Chords) -> Floats:
    """(n,) consonance of chords: the composite of Harrison & Pearce 2020 without chord size."""
    rough = hutchinson_knopoff(*partials(chords))
    return _composite(rough, harmonicity(chords), corpus_dissonance(chords))


def _composite(roughness: Floats, harmonic: Floats, surprise: Floats) -> Floats:
    return (
        COMPOSITE["intercept"]
        + COMPOSITE["roughness"] * roughness
        + COMPOSITE["harmonicity"] * harmonic
        + COMPOSITE["corpus_dissonance"] * surprise
    )
