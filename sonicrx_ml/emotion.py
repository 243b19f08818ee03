"""How musical structure is heard as emotion: a published linear model, and the energy it implies.

The data are those of Eerola, Friberg & Bresin 2013 (doi:10.7910/DVN/IFOBRN, CC0): 200 stimuli,
46 raters, ratings 1-7, refitted as an additive linear model. *Energy* is the arousal read off that
model: half of (happy + scary) - (sad + peaceful), from pace, loudness, staccato and register only
(mode and timbre colour valence), scaled so that 0 is the slowest, softest, most legato corner of
the model's validity range at MIDI 65 and 1 the fastest, loudest, most staccato one.

Units: pace in distinct onsets per second; loudness in dB re a medium level; articulation is the
legato ratio 0-1 (1 legato), staccato is 1 - articulation; register is the mean MIDI pitch.
All functions broadcast over numpy arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:  # a prescription is read without the libraries of MIDI
    from sonicrx_ml.notes import Floats

EMOTIONS = ("happy", "sad", "scary", "peaceful")
TERMS = ("const", "major", "pace", "register", "loudness", "staccato", "flute")

#: Ratings per unit of each term; rows are `EMOTIONS`, columns `TERMS`. Standard errors .03 to .09.
COEFFICIENTS: Floats = np.array(
    [
        [1.44, +1.79, +0.54, +0.47, -0.03, +0.53, +0.09],
        [3.93, -1.68, -0.64, -0.11, -0.12, -0.60, +0.22],
        [3.10, -0.77, +0.13, -0.60, +0.52, -0.11, -0.51],
        [2.13, +0.41, -0.43, +0.28, -0.50, -0.26, +0.71],
    ]
)

ONSETS_RANGE = (1.2, 6.0)  # per second; validity range of the model
LOUDNESS_RANGE = (-10.0, 10.0)  # dB
REGISTER_RANGE = (53.0, 83.0)  # MIDI pitch
CENTRE_ONSETS = 2.8
CENTRE_REGISTER = 65.0
MIN_ONSETS = 0.2  # slower paces, silence included, count as one onset in 5 s [E]

#: Arousal per unit of each term, in the order of `TERMS`.
AROUSAL: Floats = 0.5 * np.array([1.0, -1.0, 1.0, -1.0]) @ COEFFICIENTS
_PACE, _REGISTER, _LOUDNESS, _STACCATO = (
    float(AROUSAL[TERMS.index(term)]) for term in ("pace", "register", "loudness", "staccato")
)
_OCTAVES_OF_PACE = float(np.log2(ONSETS_RANGE[1] / ONSETS_RANGE[0]))
_DECADES_OF_LOUDNESS = (LOUDNESS_RANGE[1] - LOUDNESS_RANGE[0]) / 10.0
# Arousal from corner to corner along pace, loudness and staccato, and in all.
_PACE_SPAN = _PACE * _OCTAVES_OF_PACE
_LOUDNESS_SPAN = _LOUDNESS * _DECADES_OF_LOUDNESS
_SPAN = _PACE_SPAN + _LOUDNESS_SPAN + _STACCATO


class Emotion(NamedTuple):
    """Predicted mean ratings (scale 1-7), and whether the model's validity range covers them."""

    happy: Floats
    sad: Floats
    scary: Floats
    peaceful: Floats
    valid: NDArray[np.bool_]


def predict(
    onsets_per_s: ArrayLike,
    loudness_db: ArrayLike,
    articulation: ArrayLike,
    register: ArrayLike,
    major: ArrayLike,
    flute: ArrayLike = 0.5,
) -> Emotion:
    """Perceived emotion of music with these qualities; arguments broadcast.

    `major` is 1 or 0; `flute` places the timbre between trumpet (0) and flute (1).
    """
    pace, loudness, legato, pitch, mode, timbre = np.broadcast_arrays(
        *(
            np.asarray(value, dtype=np.float64)
            for value in (onsets_per_s, loudness_db, articulation, register, major, flute)
        )
    )
    terms = np.stack(
        [
            np.ones_like(pace),
            mode,
            np.log2(np.maximum(pace, MIN_ONSETS) / CENTRE_ONSETS),
            (pitch - CENTRE_REGISTER) / 12.0,
            loudness / 10.0,
            1.0 - legato,
            timbre,
        ]
    )
    ratings = np.tensordot(COEFFICIENTS, terms, axes=1)
    valid = (
        _within(pace, ONSETS_RANGE)
        & _within(loudness, LOUDNESS_RANGE)
        & _within(pitch, REGISTER_RANGE)
        & _within(legato, (0.0, 1.0))
    )
    happy, sad, scary, peaceful = ratings
    return Emotion(happy, sad, scary, peaceful, valid)


def _within(values: Floats, limits: tuple[float, float]) -> NDArray[np.bool_]:
    return (values >= limits[0]) & (values <= limits[1])


def energy(
    onsets_per_s: ArrayLike, loudness_db: ArrayLike, articulation: ArrayLike, register: ArrayLike
) -> Floats:
    """Energy (arousal proxy); 0 and 1 are the corners named above, values beyond are possible.

    Paces under `MIN_ONSETS` count as `MIN_ONSETS`.
    """
    arousal = (
        _pace_term(onsets_per_s)
        + _LOUDNESS * (np.asarray(loudness_db, dtype=np.float64) - LOUDNESS_RANGE[0]) / 10.0
        + _STACCATO * (1.0 - np.asarray(articulation, dtype=np.float64))
        + _register_term(register)
    )
    return np.asarray(arousal / _SPAN)


def _pace_term(onsets_per_s: ArrayLike) -> Floats:
    floored = np.maximum(np.asarray(onsets_per_s, dtype=np.float64), MIN_ONSETS)
    return np.asarray(_PACE * np.log2(floored / ONSETS_RANGE[0]))


def _register_term(register: ArrayLike) -> Floats:
    return _REGISTER * (np.asarray(register, dtype=np.float64) - CENTRE_REGISTER) / 12.0


def solve_energy(
    energy: ArrayLike,
    onsets_per_s: ArrayLike | None = None,
    articulation: ArrayLike | None = None,
    register: ArrayLike | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Pace, loudness (dB) and articulation that make this energy; arguments broadcast.

    What is given stays. What is not (loudness always) moves together from the calm corner to the
    excited one, by one common share clipped to 0..1: beyond that the energy asked is out of reach
    and the nearest is returned. An open register counts as MIDI 65.
    """
    pitch = CENTRE_REGISTER if register is None else register
    wanted = np.asarray(energy, dtype=np.float64) * _SPAN - _register_term(pitch)
    reach = _LOUDNESS_SPAN
    if onsets_per_s is None:
        reach += _PACE_SPAN
    else:
        wanted = wanted - _pace_term(onsets_per_s)
    if articulation is None:
        reach += _STACCATO
    else:
        wanted = wanted - _STACCATO * (1.0 - np.asarray(articulation, dtype=np.float64))
    share = np.clip(wanted / reach, 0.0, 1.0)
    loudness = LOUDNESS_RANGE[0] + 10.0 * _DECADES_OF_LOUDNESS * share
    pace = ONSETS_RANGE[0] * 2.0 ** (_OCTAVES_OF_PACE * share)
    solved = (
        pace if onsets_per_s is None else np.asarray(onsets_per_s, dtype=np.float64),
        loudness,
        1.0 - share if articulation is None else np.asarray(articulation, dtype=np.float64),
    )
    pace, loudness, legato = np.broadcast_arrays(*solved)
    return pace, loudness, legato
