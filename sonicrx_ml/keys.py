"""Key and mode of symbolic music, whole piece and bar by bar.

Pitch classes are 0-11 with C = 0. Drums are ignored. Profiles: Albrecht & Shanahan,
"The Use of Large Corpora to Train a New Type of Key-Finding Algorithm", Music Perception 31(1),
2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonicrx_ml.notes import DRUMS, Bars, Floats, Notes

MAJOR_NAMES = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
MAJOR = np.array(
    [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081]
)
MINOR = np.array(
    [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052]
)
SHARPNESS = 20.0  # inverse temperature of the softmax over correlations
MIN_QUARTERS = 4.0  # sounding note-quarters below which a window has no colour


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (pitch class 0-11), a mode ("major" or "minor") and a confidence 0-1.

    The confidence is the share of this key in the softmax over all 24 keys.
    """

    tonic: int
    mode: str
    confidence: float = 1.0

    def __post_init__(self) -> None:
        if self.tonic not in range(12):
            raise ValueError(f"tonic {self.tonic}; legal are pitch classes 0 to 11")
        if self.mode not in ("major", "minor"):
            raise ValueError(f"mode {self.mode!r}; legal are 'major' and 'minor'")

    def __str__(self) -> str:
        names = MAJOR_NAMES if self.mode == "major" else MINOR_NAMES
        return f"{names[self.tonic]} {self.mode}"

    @property
    def to_canonical(self) -> int:
        """Semitones (-6 to 5) that bring the piece to C major or A minor."""
        home = 0 if self.mode == "major" else 9
        return (home - self.tonic + 6) % 12 - 6


def estimate_key(notes: Notes) -> Key:
    """Key of the whole piece; C major with confidence 0 when it has no pitched notes."""
    notes = notes.select(notes.program != DRUMS)
    histogram = np.bincount(notes.pitch % 12, weights=notes.duration, minlength=12)
    if histogram.sum() == 0:
        return Key(0, "major", 0.0)
    posterior = _posterior(histogram[None])[0]
    best = int(posterior.argmax())
    return Key(best % 12, "major" if best < 12 else "minor", float(posterior[best]))


def bar_histograms(notes: Notes, bars: Bars) -> Floats:
    """(n_bars, 12): note-quarters of each pitch class by the bar of the onset; drums ignored."""
    notes = notes.select(notes.program != DRUMS)
    cell = bars.index(notes.onset) * 12 + notes.pitch % 12
    flat = np.bincount(cell, weights=notes.duration, minlength=12 * len(bars))
    return flat.reshape(len(bars), 12)


def local_modes(notes: Notes, bars: Bars, window: int = 8) -> Floats:
    """(n_bars,): probability of major around each bar, from `window` bars centred on it.

    NaN where the window holds less than `MIN_QUARTERS` note-quarters.
    """
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(bar_histograms(notes, bars), axis=0)])
    index = np.arange(len(bars))
    low = np.clip(index - window // 2, 0, None)
    high = np.clip(index + (window + 1) // 2, None, len(bars))
    histogram = total[high] - total[low]
    major = np.full(len(bars), np.nan)
    enough = histogram.sum(axis=1) >= MIN_QUARTERS
    major[enough] = _posterior(histogram[enough])[:, :12].sum(axis=1)
    return major


def _posterior(histograms: Floats) -> Floats:
    """(n, 12) histograms to (n, 24) shares: 12 major keys, then 12 minor keys."""
    rows = [np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    profiles = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
    profiles /= np.linalg.norm(profiles, axis=1, keepdims=True)
    centred = histograms - histograms.mean(axis=1, keepdims=True)
    scale = np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
    score = np.exp(SHARPNESS * (centred / scale @ profiles.T))
    return score / score.sum(axis=1, keepdims=True)
