"""Key and mode of symbolic music, of a whole piece and bar by bar.

Conventions
-----------
* Pitch classes are 0-11, C = 0. The 24 keys go C major ... B major, C minor ... B minor.
* A histogram holds note-quarters: how long each pitch class sounds, in quarters, summed over notes.
* Drums have no pitch and are ignored.

How a key is found
------------------
A histogram supports a key by its Pearson correlation with that key's profile (Krumhansl, "Cognitive
Foundations of Musical Pitch", 1990), here with the profiles of Albrecht & Shanahan, "The Use of
Large Corpora to Train a New Type of Key-Finding Algorithm", Music Perception 31(1), 2013. One
histogram of the whole piece is misled by modulations and by the relative key, so the estimate
adds what windows of eight bars say and what the piece opens and ends with (see `Evidence`).
The weights are those of a logistic regression on annotated pieces, rounded;
`benchmarks/label_accuracy.py` fits them again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from sonicrx_ml.notes import DRUMS, Bars, Floats, Notes

MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
HOME = {"major": 0, "minor": 9}  # tonics of the canonical keys, C major and A minor
HOME_KEYS = (HOME["major"], 12 + HOME["minor"])  # these two of the 24

ALBRECHT_SHANAHAN = (
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)

ROUNDING = 1e-6  # quarters; a shorter sound in a bar is the rounding error of a sum
LEAST_SHARE = 1e-3  # of a piece; keeps the log of an absent key finite
FRAME = 2  # bars of an opening and of an ending
WINDOW = 8  # bars that a local key is heard over
MIN_QUARTERS = 4.0  # note-quarters that a window needs before it has a mode
# The next two were chosen by the mean log loss of `local_modes` against the mode of annotated
# training pieces: within 8 % of the best found, yet C minor within C major is still minor.
SHARPNESS = 7.0  # nats of evidence per unit of correlation within a window
HOME_NATS = 1.5  # prior evidence that a window is in C major or A minor, when its piece is


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (pitch class 0-11), a mode ("major" or "minor") and a confidence.

    The confidence is the posterior probability of this key among the 24 (0-1).
    """

    tonic: int
    mode: str
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if self.tonic not in range(12):
            raise ValueError(f"tonic {self.tonic}; legal are pitch classes 0 to 11")
        if self.mode not in HOME:
            raise ValueError(f"mode {self.mode!r}; legal are {', '.join(map(repr, HOME))}")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"confidence {self.confidence}; legal are 0 to 1")

    def __str__(self) -> str:
        names = MAJOR_NAMES if self.mode == "major" else MINOR_NAMES
        return f"{names[self.tonic]} {self.mode}"

    @property
    def to_canonical(self) -> int:
        """Semitones (-6 to 5) that bring the piece to C major or A minor."""
        return (HOME[self.mode] - self.tonic + 6) % 12 - 6


class Evidence(NamedTuple):
    """What speaks for each of the 24 keys: arrays of shape (24,)."""

    whole: Floats
    """Correlation of the whole piece's histogram with the profile."""
    frame: Floats
    """The same of the first two bars plus the same of the last two."""
    share: Floats
    """Log of the key's share of the piece, by windows of eight bars."""
    minor: Floats
    """1 for minor keys: pieces in minor borrow from their relative major."""


WEIGHTS = np.array([2.3, 1.5, 2.4, 0.6])  # nats per unit of each field of `Evidence`


def estimate_key(notes: Notes) -> Key:
    """Key of the whole piece; C major with confidence 0 when nothing is pitched."""
    if not (notes.program != DRUMS).any():
        return Key(0, "major", 0.0)
    chances = softmax(np.tensordot(WEIGHTS, evidence(notes), axes=1))
    best = int(chances.argmax())
    return Key(best % 12, "major" if best < 12 else "minor", float(chances[best]))


def evidence(notes: Notes) -> Evidence:
    """Evidence for the key of a piece with at least one pitched note."""
    notes = notes.select(notes.program != DRUMS)
    histograms = bar_histograms(notes, notes.bars())
    windows = moving_sum(histograms, WINDOW)
    local = softmax(SHARPNESS * correlate(windows[windows.any(axis=1)]))
    ends = np.stack([histograms[:FRAME].sum(axis=0), histograms[-FRAME:].sum(axis=0)])
    return Evidence(
        whole=correlate(histograms.sum(axis=0)),
        frame=correlate(ends).sum(axis=0),
        share=np.log(local.mean(axis=0) + LEAST_SHARE),
        minor=np.repeat([0.0, 1.0], 12),
    )


def local_modes(notes: Notes, bars: Bars, window: int = WINDOW) -> Floats:
    """(n_bars,): probability that the music around each bar is in a major key.

    The notes are in canonical key already (C major or A minor). Each bar is heard in the `window`
    bars centred on it; NaN where these hold less than `MIN_QUARTERS` note-quarters.
    """
    windows = moving_sum(bar_histograms(notes, bars), window)
    prior = np.zeros(24)
    prior[list(HOME_KEYS)] = HOME_NATS
    major = softmax(SHARPNESS * correlate(windows) + prior)[:, :12].sum(axis=1)
    return np.where(windows.sum(axis=1) >= MIN_QUARTERS, major, np.nan)


def bar_histograms(notes: Notes, bars: Bars) -> Floats:
    """(n_bars, 12): note-quarters of each pitch class that sound within each bar; no drums."""
    notes = notes.select(notes.program != DRUMS)
    event = np.concatenate([notes.onset, notes.release])
    sign = np.repeat([1.0, -1.0], len(notes))
    stride = max(event.max(initial=0.0), bars.edges[-1]) + 1.0  # one stretch of time per class
    place = np.tile(notes.pitch % 12, 2) * stride + event
    order = np.argsort(place)
    at = np.searchsorted(place[order], np.arange(12)[:, None] * stride + bars.edges)
    # time sounded before t = sum over earlier onsets of (t - onset), less the same for releases
    sounding = np.concatenate([[0.0], np.cumsum(sign[order])])[at]
    offset = np.concatenate([[0.0], np.cumsum((sign * event)[order])])[at]
    histograms = np.diff(sounding * bars.edges - offset, axis=1).T
    return np.where(histograms > ROUNDING, histograms, 0.0)


def moving_sum(rows: Floats, window: int) -> Floats:
    """(n, k): at each of n rows, the sum of the `window` rows around it, fewer at the edges."""
    total = np.concatenate([np.zeros((1, rows.shape[1])), np.cumsum(rows, axis=0)])
    index = np.arange(len(rows))
    first = np.clip(index - window // 2, 0, None)
    last = np.clip(index + (window + 1) // 2, None, len(rows))
    return total[last] - total[first]


def rotations(major: ArrayLike, minor: ArrayLike) -> Floats:
    """(24, 12): a major and a minor profile on every tonic, each of mean 0 and length 1."""
    rows = np.array([np.roll(profile, tonic) for profile in (major, minor) for tonic in range(12)])
    return _standardise(rows)


def _standardise(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=-1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=-1, keepdims=True), 1e-12)


PROFILES = rotations(*ALBRECHT_SHANAHAN)


def correlate(histograms: Floats, profiles: Floats = PROFILES) -> Floats:
    """(..., 12) to (..., 24): Pearson correlation with each key's profile; 0 for a flat one."""
    return _standardise(histograms) @ profiles.T


def softmax(scores: Floats) -> Floats:
    """Over the last axis."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
