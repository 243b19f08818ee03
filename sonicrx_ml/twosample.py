"""Can a classifier tell generated pieces from real ones? A two-sample test.

After Lopez-Paz & Oquab, "Revisiting classifier two-sample tests", ICLR 2017: a classifier is fitted
to part of both sets and told to separate the rest. The area under its ROC curve is the chance that
it finds a generated piece more "generated" than a real one: 0.5 where it cannot tell them apart, 1
where it always can. A weak classifier, or few pieces, tell little: 0.5 is no proof of likeness.

The classifier is a logistic regression on the features of `style` but the two transition matrices
(288 numbers would drown in the noise of a few hundred pieces), standardised, and their squares, so
that a set that varies too little is told too. What a piece cannot tell is set to the median.

Pieces of one prescription, or of one work, stay together in a fold, and only pieces of the same
fold are ranked against each other: scores of different fits have no common zero.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from sonicrx_ml.notes import Floats, Ints
from sonicrx_ml.statistics import Estimate, bootstrap
from sonicrx_ml.style import NAMES

FOLDS = 5
STRENGTH = 0.1  # inverse of the L2 penalty: strong, as there are few pieces to a feature
USED = tuple(name for name in NAMES if not name.endswith("transitions"))
#: What hangs on how long notes are held. Performance writes that, and scores are not performed, so
#: real pieces performed as ours are would be told by it.
HELD = ("articulation", "note-length histogram", "polyphony")
COMPOSED = tuple(name for name in USED if name not in HELD)


@dataclass(frozen=True, slots=True)
class TwoSample:
    """The outcome of a test."""

    auc: Estimate
    """Area under the curve; the interval is over pieces, given the fitted classifiers."""
    tells: dict[str, float]
    """Area under the curve of each feature alone, the most telling first.

    Above 0.5 where generated pieces have more of it. Histograms count by class, `name [class]`.
    """


def two_sample(
    generated: dict[str, Floats],
    real: dict[str, Floats],
    groups: ArrayLike | None = None,
    real_groups: ArrayLike | None = None,
    seed: int = 0,
    used: tuple[str, ...] = USED,
) -> TwoSample:
    """Test two tables of `style.table`, by the features that are `used`.

    groups, real_groups : pieces that belong together: of one prescription, of one work.
    Raises `ValueError` where a set has fewer than `FOLDS` groups.
    """
    names, made = _matrix(generated, used)
    _, model = _matrix(real, used)
    features = np.concatenate([made, model])
    label = np.repeat([1, 0], [len(made), len(model)])
    group = np.concatenate([_numbered(groups, len(made)), -1 - _numbered(real_groups, len(model))])
    fold = _folds(group, np.random.default_rng(seed))
    score = np.empty(len(label))
    for rows in (fold == number for number in range(FOLDS)):
        score[rows] = _fitted_scores(features[~rows], label[~rows], features[rows])
    return TwoSample(
        auc=bootstrap(np.column_stack([score, label, fold]), auc, group),
        tells=dict(_tells(names, features, label)),
    )


def auc(weights: Floats, values: Floats) -> Floats:
    """A `statistics.Statistic`: area under the ROC curve, over the pairs of one fold.

    values : (N, 3) score, label (1 is to score higher) and fold.
    """
    won, pairs = np.zeros((2, len(weights)))
    for fold in np.unique(values[:, 2]):
        rows = np.flatnonzero(values[:, 2] == fold)
        rows = rows[np.argsort(values[rows, 0], kind="stable")]
        first = np.flatnonzero(np.diff(values[rows, 0], prepend=-np.inf))
        positive, negative = (
            np.add.reduceat(weights[:, rows] * (values[rows, 1] == label), first, axis=1)
            for label in (1, 0)
        )
        below = np.cumsum(negative, axis=1) - negative / 2  # ties count half
        won += (positive * below).sum(axis=1)
        pairs += positive.sum(axis=1) * negative.sum(axis=1)
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def _matrix(table: dict[str, Floats], used: tuple[str, ...]) -> tuple[list[str], Floats]:
    """Names of the columns, and (pieces, columns)."""
    widths = {name: table[name].shape[1] for name in used}
    names = [
        name if width == 1 else f"{name} [{column}]"
        for name, width in widths.items()
        for column in range(width)
    ]
    return names, np.concatenate([table[name] for name in used], axis=1)


def _numbered(groups: ArrayLike | None, count: int) -> Ints:
    labels = np.arange(count) if groups is None else np.asarray(groups)
    return np.unique(labels, return_inverse=True)[1]


def _folds(group: Ints, rng: np.random.Generator) -> Ints:
    """Fold of each piece: the groups of each set (generated from 0 up, real below) dealt out."""
    fold = np.empty(len(group), dtype=np.int64)
    for name, rows in (("generated", group >= 0), ("real", group < 0)):
        names, index = np.unique(group[rows], return_inverse=True)
        if len(names) < FOLDS:
            raise ValueError(f"{len(names)} groups of {name} pieces; legal are {FOLDS} or more")
        fold[rows] = (rng.permutation(len(names)) % FOLDS)[index]
    return fold


def _fitted_scores(features: Floats, label: Ints, unseen: Floats) -> Floats:
    """Log odds that each unseen piece is generated."""
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    classifier = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        FunctionTransformer(_with_squares),
        LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=2000),
    )
    scores: Floats = classifier.fit(features, label).decision_function(unseen)
    return scores


def _with_squares(standard: Floats) -> Floats:
    return np.concatenate([standard, standard**2], axis=1)


def _tells(names: list[str], features: Floats, label: Ints) -> Iterator[tuple[str, float]]:
    """Each feature and how well it alone separates the pieces that have it, best first."""
    areas = []
    for column in features.T:
        told = np.isfinite(column)
        values = np.column_stack([column, label, np.zeros(len(label))])[told]
        areas.append(float(auc(np.ones((1, len(values))), values)[0]))
    for index in np.argsort(-np.abs(np.array(areas) - 0.5), kind="stable"):
        if np.isfinite(areas[index]):
            yield names[index], areas[index]


__all__ = ["COMPOSED", "FOLDS", "HELD", "USED", "TwoSample", "auc", "two_sample"]
