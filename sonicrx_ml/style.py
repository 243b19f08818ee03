"""Is generated music like real music? Features of pieces, and how two sets of pieces differ.

Features are those of Yang & Lerch, "On the evaluation of generative models in music", Neural
Computing and Applications 32, 2020, and Wu & Yang, "The Jazz Transformer on the Front Line", ISMIR
2020, with scale consistency after Mogren, "C-RNN-GAN", 2016, and the attributes that need no tempo.

Conventions
-----------
* A piece is measured as the corpus holds it (`standard`): playable notes in C major or A minor, on
  the grid, without a tempo. So time is in quarters, and no figure moves with the key or the tempo.
* The papers measure monophonic music. What they take from consecutive notes is taken here from
  `Lines`: of each timbre family, the highest note at each onset.
* Pitch count and range grow with length, so both are means over windows of `WINDOW` bars.
* What a piece cannot tell is NaN, and leaves the piece out of that feature alone; `n` says so.

How sets are compared
---------------------
Each feature of each piece is a point; the distances among the real pieces (intra-set) and those
from the generated to the real ones (inter-set) become two densities by Gaussian kernels. Their
overlap area is 1, and the divergence 0, where generated pieces lie among the real ones as these lie
among themselves. Both kernels have Scott's width for the intra-set distances: with a width for each
number of distances, as in the paper, a set would differ from itself where a feature is a count.
Resamples of a set are less like the real pieces than the set is, so intervals lean that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist, pdist

from sonicrx_ml import attributes, canonical, keys
from sonicrx_ml.attributes import SCALES, Attribute
from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.notes import Floats, Ints, Notes
from sonicrx_ml.statistics import Estimate, bootstrap

TICKS = 24  # per quarter: a position is 1 tick in x/8, 2 ticks in x/4
WINDOW = 8  # bars over which pitches are counted
# Ticks of a whole, half, quarter, 8th and 16th note, the same dotted but the first, and triplets of
# half, quarter and 8th: the classes of Yang & Lerch, shortest first.
LENGTHS: Ints = np.array([6, 8, 9, 12, 16, 18, 24, 32, 36, 48, 72, 96])
BINS = 256  # of distances, from 0 to the largest
FLOOR = 1e-9  # least density of a bin: keeps the divergence of disjoint sets finite (about 20 nats)
MEASURED = ("mode", "density", "polyphony", "register", "articulation")

_YANG = "Yang & Lerch 2020"
_WU = "Wu & Yang 2020"
_LINES = "between consecutive notes of a line"
FEATURES = (
    Attribute("pitch count", "pitches", f"different pitches in {WINDOW} bars", _YANG),
    Attribute("pitch range", "semitones", f"highest less lowest pitch in {WINDOW} bars", _YANG),
    Attribute("pitch interval", "semitones", f"mean absolute interval {_LINES}", _YANG),
    Attribute("note count", "notes/bar", "notes that begin in a bar", _YANG),
    Attribute("inter-onset interval", "quarters", f"mean time {_LINES}", _YANG),
    Attribute("pitch-class histogram", "share", "note time of each pitch class (12)", _YANG),
    Attribute("pitch-class transitions", "share", f"pairs of pitch classes {_LINES} (144)", _YANG),
    Attribute("note-length histogram", "share", "notes of each class of `LENGTHS` (12)", _YANG),
    Attribute("note-length transitions", "share", f"pairs of length classes {_LINES} (144)", _YANG),
    Attribute("grooving similarity", "share", "positions where two bars agree on an onset", _WU),
    Attribute("pitch-class entropy, 1 bar", "bit", "entropy of the pitch classes of a bar", _WU),
    Attribute("pitch-class entropy, 4 bars", "bit", "the same of any four bars in a row", _WU),
    Attribute("scale consistency", "share", "notes on the best diatonic scale", "Mogren 2016"),
    *(attribute for attribute in attributes.ATTRIBUTES if attribute.name in MEASURED),
)
NAMES = tuple(feature.name for feature in FEATURES)
SCALARS = tuple(name for name in NAMES if not name.endswith(("histogram", "transitions")))

_DIATONIC: Floats = np.stack([np.roll(SCALES["major"], tonic) for tonic in range(12)]).astype(float)


# ---------------------------------------------------------------- pieces


def standard(notes: Notes) -> Gridded:
    """A piece as the corpus holds it. Raises `MidiError` where it cannot be."""
    notes = canonical.playable(canonical.simplify_meters(notes))
    moved = canonical.into_range(notes.transpose(keys.estimate_key(notes).to_canonical))
    return canonical.snap(moved, moved.bars())


@dataclass(frozen=True, slots=True)
class Lines:
    """The highest note at each onset of each timbre family, one family after another."""

    tick: Ints
    pitch: Ints
    length: Ints
    """In ticks."""
    family: Ints

    @property
    def joined(self) -> Ints:
        """Rows whose next row is of the same line."""
        return np.flatnonzero(np.diff(self.family) == 0)


def lines(grid: Gridded) -> Lines:
    tick, unit = onset_ticks(grid)
    order = np.lexsort((grid.pitch, tick, grid.family))
    place = np.stack([grid.family, tick])[:, order]
    highest = np.append((np.diff(place) != 0).any(axis=0), True)[: len(order)]
    rows = order[highest]
    return Lines(tick[rows], grid.pitch[rows], (grid.length * unit)[rows], grid.family[rows])


def onset_ticks(grid: Gridded) -> tuple[Ints, Ints]:
    """Onset of each note in ticks from the start, every bar complete, and ticks per position."""
    unit = np.array([4 * TICKS // (GRID * meter.denominator) for meter in grid.meters], dtype=int)
    bar_ticks = unit * GRID * [meter.numerator for meter in grid.meters]
    start = np.cumsum(bar_ticks) - bar_ticks
    return start[grid.bar] + grid.position * unit[grid.bar], unit[grid.bar]


def features(grid: Gridded) -> dict[str, Floats]:
    """Every feature of `FEATURES` of a piece: one number each, or the 12 or 144 of a histogram."""
    line = lines(grid)
    joined = line.joined
    pitch_class, length_class = line.pitch % 12, _length_class(line.length)
    counts, ranges = _windowed_pitches(grid)
    histograms = _histogram(12 * grid.bar + grid.pitch % 12, 12 * len(grid.meters)).reshape(-1, 12)
    sounding = grid.length * onset_ticks(grid)[1]
    found: dict[str, ArrayLike] = {
        "pitch count": _mean(counts),
        "pitch range": _mean(ranges),
        "pitch interval": _mean(np.abs(line.pitch[joined + 1] - line.pitch[joined])),
        "note count": len(grid) / len(grid.meters) if grid.meters else np.nan,
        "inter-onset interval": _mean(line.tick[joined + 1] - line.tick[joined]) / TICKS,
        "pitch-class histogram": _share(_histogram(grid.pitch % 12, 12, sounding)),
        "pitch-class transitions": _transitions(pitch_class, joined),
        "note-length histogram": _share(_histogram(_length_class(sounding), len(LENGTHS))),
        "note-length transitions": _transitions(length_class, joined),
        "grooving similarity": grooving_similarity(grid),
        "pitch-class entropy, 1 bar": pitch_class_entropy(histograms, 1),
        "pitch-class entropy, 4 bars": pitch_class_entropy(histograms, 4),
        "scale consistency": scale_consistency(histograms),
        **_measured(grid),
    }
    return {name: np.atleast_1d(np.asarray(value, dtype=float)) for name, value in found.items()}


def table(pieces: Sequence[Gridded]) -> dict[str, Floats]:
    """Features of pieces: name to (pieces, 1, 12 or 144)."""
    rows = [features(piece) for piece in pieces]
    return {name: np.array([row[name] for row in rows]) for name in NAMES}


def grooving_similarity(grid: Gridded) -> float:
    """Mean over pairs of bars of equal meter: share of positions that both or neither strike.

    The pairs that differ at a position are those struck there times those not, so no pair is
    compared. Wu & Yang have 64 positions in a 4/4 bar, the grid has 48.
    """
    meter = np.array([16 * m.numerator + m.denominator for m in grid.meters], dtype=int)
    alike, pairs = 0.0, 0.0
    for kind in np.unique(meter):
        bars, size = int((meter == kind).sum()), GRID * (int(kind) // 16)
        inside = (meter[grid.bar] == kind) & (grid.position < size)
        struck = np.unique(size * grid.bar[inside] + grid.position[inside]) % size
        count = _histogram(struck, size)
        of_kind = bars * (bars - 1) / 2
        alike += of_kind - (count * (bars - count)).sum() / size
        pairs += of_kind
    return alike / pairs if pairs else np.nan


def pitch_class_entropy(histograms: Floats, window: int) -> float:
    """Mean over all runs of `window` bars that hold notes, in bits; all bars where there are fewer.

    histograms : (bars, 12), notes that begin.
    """
    window = min(window, len(histograms))
    total = np.concatenate([np.zeros((1, 12)), np.cumsum(histograms, axis=0)])
    runs = total[window:] - total[: len(total) - window]
    share = runs[runs.any(axis=1)]
    share = share / share.sum(axis=1, keepdims=True)
    surprise = np.log2(share, out=np.zeros_like(share), where=share > 0)
    return _mean(-(share * surprise).sum(axis=1))


def scale_consistency(histograms: Floats) -> float:
    """Share of the notes that the best of the twelve diatonic scales holds."""
    return float(_share(_DIATONIC @ histograms.sum(axis=0), histograms.sum()).max())


def _measured(grid: Gridded) -> dict[str, float]:
    """Means over bars of the attributes that need neither tempo nor dynamics."""
    if not len(grid):
        return dict.fromkeys(MEASURED, np.nan)
    bars = canonical.full_bars(grid.meters)
    found = attributes.measure(
        canonical.unsnap(grid, bars), bars, mode="major", tempo_known=False
    )  # `mode` is that of chromaticism, which scale consistency stands for
    return {name: _mean(found[name][np.isfinite(found[name])]) for name in MEASURED}


def _windowed_pitches(grid: Gridded) -> tuple[Ints, Ints]:
    """Different pitches, and their range, in each window that holds notes; no incomplete window."""
    windows = max(1, len(grid.meters) // WINDOW)
    window = grid.bar // WINDOW
    inside = window < windows
    present = np.unique(128 * window[inside] + grid.pitch[inside])
    first = np.flatnonzero(np.diff(present // 128, prepend=-1))
    last = np.append(first, len(present))[1:]
    return last - first, present[last - 1] - present[first]


def _transitions(kind: Ints, joined: Ints) -> Floats:
    """(144,): share of each pair of classes among consecutive notes of a line."""
    return _share(_histogram(12 * kind[joined] + kind[joined + 1], 144))


def _length_class(ticks: Ints) -> Ints:
    return np.searchsorted((LENGTHS[1:] + LENGTHS[:-1]) / 2, ticks)


def _histogram(values: Ints, size: int, weights: Ints | None = None) -> Floats:
    return np.bincount(values, weights, minlength=size).astype(float)


def _share(values: Floats, total: float | None = None) -> Floats:
    total = float(values.sum()) if total is None else total
    return values / total if total else np.full_like(values, np.nan)


def _mean(values: ArrayLike) -> float:
    values = np.asarray(values, dtype=float)
    return float(values.mean()) if len(values) else np.nan


# ---------------------------------------------------------------- sets


@dataclass(frozen=True, slots=True)
class Comparison:
    """One feature of generated pieces beside real ones; the intervals are over generated pieces."""

    feature: str
    unit: str
    generated: Estimate | None
    """Mean over pieces; None for a histogram."""
    generated_sd: float | None
    real: Estimate | None
    real_sd: float | None
    within_generated: float
    """Mean distance between generated pieces, in `unit` (Euclidean)."""
    within_real: float
    between: float
    """Mean distance from a generated to a real piece."""
    overlap: Estimate
    """Overlap area of the intra-set density of real pieces and the inter-set density, 0 to 1."""
    divergence: Estimate
    """Kullback-Leibler divergence of the first from the second, nats."""


def compare(
    generated: dict[str, Floats],
    real: dict[str, Floats],
    groups: ArrayLike | None = None,
    real_groups: ArrayLike | None = None,
) -> tuple[Comparison, ...]:
    """Every feature that the table of generated pieces has.

    groups, real_groups : pieces that belong together: of one prescription, of one work.
    Raises `ValueError` where a feature is told by less than two pieces of a set.
    """
    found = []
    for feature in (feature for feature in FEATURES if feature.name in generated):
        made, kept = _told(generated[feature.name], groups)
        model, of_work = _told(real[feature.name], real_groups)
        if min(len(made), len(model)) < 2:
            raise ValueError(
                f"{feature.name} is told by {len(made)} generated and {len(model)} real pieces; "
                "legal are 2 or more of each"
            )
        found.append(_compare(feature, made, model, kept, of_work))
    return tuple(found)


def _told(values: Floats, groups: ArrayLike | None) -> tuple[Floats, Ints]:
    """The pieces that have a value, and their groups: by default each its own."""
    rows = np.isfinite(values).all(axis=1)
    labels = np.arange(len(values)) if groups is None else np.asarray(groups)
    return values[rows], labels[rows]


def _compare(
    feature: Attribute, made: Floats, model: Floats, groups: Ints, works: Ints
) -> Comparison:
    """(N, k) generated and (M, k) real points."""
    among, across = pdist(model), cdist(made, model)
    top = max(float(among.max()), float(across.max())) or 1.0
    width = max(float(among.std()) * len(among) ** -0.2, top / (BINS - 1))
    target = _densities(among[None], top, width)[0]
    rows = _densities(across, top, width)  # of each generated piece: a set's is their mean

    def overlap(weights: Floats, rows: Floats) -> Floats:
        return np.minimum(target, _mixture(weights, rows)).sum(axis=1)

    def divergence(weights: Floats, rows: Floats) -> Floats:
        p, q = target + FLOOR, _mixture(weights, rows) + FLOOR
        return p @ np.log(p) - np.log(q) @ p

    scalar = feature.name in SCALARS
    return Comparison(
        feature=feature.name,
        unit=feature.unit,
        generated=bootstrap(made[:, 0], groups=groups) if scalar else None,
        generated_sd=float(made.std()) if scalar else None,
        real=bootstrap(model[:, 0], groups=works) if scalar else None,
        real_sd=float(model.std()) if scalar else None,
        within_generated=float(pdist(made).mean()),
        within_real=float(among.mean()),
        between=float(across.mean()),
        overlap=bootstrap(rows, overlap, groups),
        divergence=bootstrap(rows, divergence, groups),
    )


def _mixture(weights: Floats, rows: Floats) -> Floats:
    return weights @ rows / weights.sum(axis=1, keepdims=True)


def _densities(distances: Floats, top: float, width: float) -> Floats:
    """(N, 2 BINS): the density of each row of (N, M) distances, in shares of a bin.

    The first bin is centred on 0, bin `BINS` - 1 on `top`: the rest of the circle is room for the
    tails of the Gaussian kernels of standard deviation `width`.
    """
    scale = (BINS - 1) / top
    bins = np.rint(distances * scale).astype(np.int64)
    rows = 2 * BINS * np.arange(len(bins))[:, None]
    counts = _histogram((rows + bins).ravel(), 2 * BINS * len(bins)).reshape(-1, 2 * BINS)
    kernel = np.exp(-0.5 * (2 * np.pi * width * scale * np.fft.rfftfreq(2 * BINS)) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(counts / distances.shape[1]) * kernel)
    return np.maximum(smooth, 0.0)


__all__ = ["FEATURES", "NAMES", "SCALARS", "Comparison", "Lines", "compare", "features",
           "grooving_similarity", "lines", "onset_ticks", "pitch_class_entropy",
           "scale_consistency", "standard", "table"]  # fmt: skip
