"""Key of symbolic music by another road than `keys`: how the judge checks what labels also say.

`keys` labels the corpus. Were it the judge too, what it gets wrong would count as right. So CK and
CKD are told by a finder that shares neither method nor figures with it: the Bayesian model of
Temperley ("Music and Probability", MIT Press 2007, chapter 6; "A Bayesian key-finding model",
MIREX 2005). Takes are chosen by the same model with figures of our training pieces (`TRAINED`).

The piece is cut into segments. A key makes each pitch class sound in a segment with a chance of its
own, independent of the others; how long or how often it sounds is ignored. The key of a segment is
that of the one before with probability `STAY`, and else any other. The key of the piece is the one
that most of its segments are in, by their posterior (forward-backward algorithm).

Accuracy on annotated pieces, beside others': `benchmarks/label_accuracy.md`. Conventions are those
of `keys`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.keys import Key
from sonicrx_ml.notes import DRUMS, Floats, Notes

#: Share of the segments of Kostka & Payne's examples in major, and in minor, that hold each degree
#: (Temperley 2007, chapter 6).
KOSTKA_PAYNE = (
    (0.748, 0.060, 0.488, 0.082, 0.670, 0.460, 0.096, 0.715, 0.104, 0.366, 0.057, 0.400),
    (0.712, 0.084, 0.474, 0.618, 0.049, 0.460, 0.105, 0.747, 0.404, 0.067, 0.133, 0.330),
)
#: The same of training pieces whose keys people told: 185 by Chopin and 77 songs, the two sources
#: counted alike (`benchmarks/label_accuracy.py`).
TRAINING_PIECES = (
    (0.572, 0.084, 0.421, 0.124, 0.487, 0.379, 0.128, 0.639, 0.139, 0.330, 0.108, 0.342),
    (0.575, 0.102, 0.404, 0.465, 0.145, 0.377, 0.128, 0.602, 0.314, 0.144, 0.255, 0.243),
)
SEGMENT = 1.0  # quarters
STAY = 0.95  # of .8 to .998 the best on annotated songs; .8 hears a key in every long chord
TOUCH = 1 / 32  # of a segment; a note that reaches in by less is not of it


def in_every_key(degrees: Sequence[Sequence[float]]) -> Floats:
    """(24, 12): chance of each pitch class in each key, from those of degrees, major and minor."""
    return np.array([np.roll(row, tonic) for row in degrees for tonic in range(12)])


CHANCES, TRAINED = in_every_key(KOSTKA_PAYNE), in_every_key(TRAINING_PIECES)


def estimate_key(notes: Notes) -> Key:
    """Key of the whole piece; C major with confidence 0 when nothing is pitched.

    The confidence is the share of the piece that is in this key.
    """
    notes = notes.select(notes.program != DRUMS)
    if len(notes) == 0:
        return Key(0, "major", 0.0)
    share = key_shares(sounding(notes))
    best = int(share.argmax())
    return Key(best % 12, "major" if best < 12 else "minor", float(share[best]))


def sounding(notes: Notes) -> NDArray[np.bool_]:
    """(segments, 12): which pitch classes sound in each segment, up to the last release."""
    first = np.floor(notes.onset / SEGMENT + TOUCH).astype(np.int64)
    last = np.ceil(notes.release / SEGMENT - TOUCH).astype(np.int64)
    last = np.maximum(last, first + 1)
    change = np.zeros((int(last.max()) + 1, 12), dtype=np.int64)
    np.add.at(change, (first, notes.pitch % 12), 1)
    np.add.at(change, (last, notes.pitch % 12), -1)
    return change.cumsum(axis=0)[:-1] > 0


def key_shares(present: NDArray[np.bool_], chances: Floats = CHANCES) -> Floats:
    """(24,): how much of the piece is in each key. Segments in which nothing sounds tell nothing.

    present : (segments, 12), at least one of them with a sound.
    chances : (24, 12), of each pitch class to sound in a segment of each key.
    """
    present = present[present.any(axis=1)]
    logs = present @ np.log(chances.T) + ~present @ np.log1p(-chances.T)
    likelihood = np.exp(logs - logs.max(axis=1, keepdims=True))
    forward, backward = _passed_on(likelihood), _passed_on(likelihood[::-1])[::-1]
    posterior = forward * likelihood * backward
    shares: Floats = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
    return shares


def _passed_on(likelihood: Floats) -> Floats:
    """(segments, 24): what the segments before each say of its key, up to a factor."""
    change = (1.0 - STAY) / (len(CHANCES) - 1)
    told = np.full_like(likelihood, 1.0 / len(CHANCES))
    for segment in range(1, len(likelihood)):
        before = told[segment - 1] * likelihood[segment - 1]
        told[segment] = change + (STAY - change) * before / before.sum()
    return told
