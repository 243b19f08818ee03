"""Features by hand, sets against themselves and others, densities against SciPy's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde

from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.notes import DRUMS, Meter, Notes
from sonicrx_ml.style import (
    LENGTHS,
    NAMES,
    SCALARS,
    compare,
    features,
    grooving_similarity,
    lines,
    standard,
    table,
)

FOUR, THREE, SIX = Meter(0.0, 4, 4), Meter(0.0, 3, 4), Meter(0.0, 6, 8)
Row = tuple[int, int, int, int, int]  # bar, position, family, pitch, length


def piece(rows: list[Row], meters: tuple[Meter, ...] = (FOUR,)) -> Gridded:
    columns = np.array(sorted(rows), dtype=np.int64).reshape(-1, 5).T
    bar, position, family, pitch, length = columns
    return Gridded(bar, position, length, pitch, family, np.full(len(bar), 64), meters)


def melody(pitches: list[int], length: int = GRID) -> Gridded:
    """One note after the other, from the start, in 4/4."""
    at = [(i * length // 48, i * length % 48) for i in range(len(pitches))]
    rows = [(bar, place, 0, p, length) for (bar, place), p in zip(at, pitches, strict=True)]
    return piece(rows, (FOUR,) * (at[-1][0] + 1))


def walk(rng: np.random.Generator, low: int = 55, bars: int = 8) -> Gridded:
    """Quarters that wander over a scale."""
    scale = np.array([0, 2, 4, 5, 7, 9, 11])
    degree = np.cumsum(rng.integers(-2, 3, 4 * bars)) % 14
    return melody((low + 12 * (degree // 7) + scale[degree % 7]).tolist())


# ---------------------------------------------------------------- features


def test_a_bar_by_hand():
    """C4 quarter, E4 eighth over C3, G4 eighth, C5 half."""
    found = features(
        piece([(0, 0, 0, 60, 12), (0, 12, 0, 48, 6), (0, 12, 0, 64, 6), (0, 18, 0, 67, 6),
               (0, 24, 0, 72, 24)])
    )  # fmt: skip
    told = {name: found[name][0] for name in SCALARS}
    assert told["pitch count"] == 5
    assert told["pitch range"] == 24
    assert told["pitch interval"] == pytest.approx((4 + 3 + 5) / 3)
    assert told["note count"] == 5
    assert told["inter-onset interval"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert np.isnan(told["grooving similarity"])
    # three C, one E, one G
    entropy = -0.6 * np.log2(0.6) - 2 * 0.2 * np.log2(0.2)
    assert told["pitch-class entropy, 1 bar"] == pytest.approx(entropy)
    assert told["pitch-class entropy, 4 bars"] == pytest.approx(entropy)
    assert told["scale consistency"] == 1.0
    assert told["density"] == 1.0  # four onsets in four beats
    assert told["register"] == pytest.approx((60 + 48 + 64 + 67 + 72) / 5)
    time = found["pitch-class histogram"] * 54  # positions
    assert time[[0, 4, 7]] == pytest.approx([12 + 6 + 24, 6, 6])
    notes = dict(zip(LENGTHS.tolist(), found["note-length histogram"] * 5, strict=True))
    assert {k: round(v) for k, v in notes.items() if v} == {12: 3, 24: 1, 48: 1}
    pairs = found["pitch-class transitions"].reshape(12, 12) * 3
    assert pairs[[0, 4, 7], [4, 7, 0]] == pytest.approx(1)
    eighth, quarter, half = np.searchsorted(LENGTHS, [12, 24, 48])
    lengths = found["note-length transitions"].reshape(12, 12) * 3
    assert lengths[[quarter, eighth, eighth], [eighth, eighth, half]] == pytest.approx(1)


def test_lines_are_the_highest_of_each_family():
    grid = piece([(0, 0, 0, 60, 6), (0, 0, 0, 64, 12), (0, 0, 3, 72, 6), (0, 12, 0, 62, 6),
                  (1, 0, 3, 70, 12)], (FOUR, FOUR))  # fmt: skip
    line = lines(grid)
    assert line.family.tolist() == [0, 0, 3, 3]
    assert line.pitch.tolist() == [64, 62, 72, 70]
    assert line.tick.tolist() == [0, 24, 0, 96]
    assert line.length.tolist() == [24, 12, 12, 24]
    assert line.joined.tolist() == [0, 2]


def test_an_eighth_is_half_a_quarter_in_every_meter():
    grid = piece([(0, 12, 0, 60, 12), (1, 12, 0, 62, 6)], (SIX, FOUR))
    line = lines(grid)
    assert line.tick.tolist() == [12, 72 + 24]
    assert line.length.tolist() == [12, 12]


def test_pitches_are_counted_over_eight_bars():
    """Sixteen bars with two pitches a half are two windows of two; what is left over is left."""
    rows = [(bar, 0, 0, 60 + bar % 2 + 12 * (bar // 8), 12) for bar in range(19)]
    found = features(piece(rows, (FOUR,) * 19))
    assert found["pitch count"] == 2
    assert found["pitch range"] == 1


def test_lengths_go_to_the_nearest_class():
    found = features(melody([60, 62], length=GRID + 3))["note-length histogram"]  # 30 ticks
    assert LENGTHS[found.argmax()] == 32


@pytest.mark.parametrize(
    ("second", "similarity"),
    [
        ([0, 12, 24, 36], 1.0),
        ([0, 12], 1 - 2 / 48),
        ([], 1 - 4 / 48),
        ([6, 18, 30, 42], 1 - 8 / 48),
    ],
)
def test_grooving_similarity_of_two_bars(second: list[int], similarity: float):
    rows = [(0, at, 0, 60, 6) for at in (0, 12, 24, 36)] + [(1, at, 0, 60, 6) for at in second]
    assert grooving_similarity(piece(rows, (FOUR, FOUR))) == pytest.approx(similarity)


onsets = st.sets(st.tuples(st.integers(0, 5), st.integers(0, 35)), min_size=1)


@given(onsets)
def test_grooving_similarity_is_the_mean_over_pairs_of_equal_meter(places):
    meters = (FOUR, THREE, FOUR, THREE, THREE, FOUR)
    grid = piece([(bar, at, 0, 60, 1) for bar, at in places], meters)
    patterns = [{at for bar, at in places if bar == wanted} for wanted in range(6)]
    alike = [
        1 - len(patterns[i] ^ patterns[j]) / (12 * meters[i].numerator)
        for i in range(6)
        for j in range(i)
        if meters[i] == meters[j]
    ]
    assert grooving_similarity(grid) == pytest.approx(np.mean(alike))


def test_entropy_of_twelve_equal_classes():
    rows = [(bar, 4 * k, 0, 60 + 3 * bar + k, 4) for bar in range(4) for k in range(3)]
    found = features(piece(rows, (FOUR,) * 4))
    assert found["pitch-class entropy, 1 bar"] == pytest.approx(np.log2(3))
    assert found["pitch-class entropy, 4 bars"] == pytest.approx(np.log2(12))


def test_the_best_scale_holds_seven_of_twelve():
    assert features(melody(list(range(60, 72))))["scale consistency"] == pytest.approx(7 / 12)
    assert features(melody([66, 68, 70, 71, 73, 75, 77, 78]))["scale consistency"] == 1.0


def test_a_piece_without_notes_tells_nothing():
    for meters in ((), (FOUR, FOUR)):
        found = features(piece([], meters))
        assert set(found) == set(NAMES)
        told = {name for name, values in found.items() if np.isfinite(values).any()}
        assert told <= {"note count", "grooving similarity"}


@settings(max_examples=20)
@given(st.integers(-5, 5), st.sampled_from([1.0, 0.5]))
def test_neither_key_nor_tempo_matter(semitones: int, slower: float):
    grid = walk(np.random.default_rng(1), low=60)
    notes = Notes(
        onset=lines(grid).tick / 24.0,
        duration=np.full(len(grid), 1.0),
        pitch=grid.pitch,
        velocity=grid.velocity,
        program=np.zeros(len(grid), dtype=np.int64),
    )
    tempo = replace(notes.tempo, bpm=notes.tempo.bpm * slower)
    moved = replace(notes.transpose(semitones), tempo=tempo)
    plain, other = features(standard(notes)), features(standard(moved))
    for name in NAMES:
        if name not in ("register", "pitch count", "pitch range"):  # octaves may differ
            np.testing.assert_allclose(other[name], plain[name])


def test_standard_leaves_drums_out():
    notes = Notes(
        onset=np.array([0.0, 0.0, 1.0]),
        duration=np.ones(3),
        pitch=np.array([60, 40, 64]),
        velocity=np.full(3, 64),
        program=np.array([0, DRUMS, 0]),
    )
    assert len(standard(notes)) == 2


# ---------------------------------------------------------------- sets


@pytest.fixture(scope="module")
def walks() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return some(table([walk(rng, low) for low in rng.integers(48, 66, 200).tolist()]))


def some(features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A count, a histogram and a mean: enough to compare."""
    return {name: features[name] for name in ("pitch count", "pitch-class histogram", "register")}


def test_a_set_is_like_itself(walks):
    for row in compare(walks, walks):
        assert row.overlap.value > 0.99, row.feature
        assert row.divergence.value < 0.01, row.feature
        assert row.between == pytest.approx(row.within_real * 199 / 200)


def test_sets_that_lie_apart_do_not_overlap(walks):
    high = some(table([walk(np.random.default_rng(seed), low=90) for seed in range(40)]))
    row = next(row for row in compare(high, walks) if row.feature == "register")
    assert row.overlap.high < 0.1
    assert row.divergence.low > 5
    assert row.generated is not None
    assert row.real is not None
    assert row.generated.value - row.real.value == pytest.approx(
        high["register"].mean() - walks["register"].mean()
    )
    assert row.generated_sd == pytest.approx(high["register"].std())


def test_a_set_without_variety_is_not_like_one_with(walks):
    """The mean piece is nearer to every other than they are to one another."""
    same = {
        name: np.repeat(values.mean(axis=0)[None], 40, axis=0) for name, values in walks.items()
    }
    rows = {row.feature: row for row in compare(same, walks)}
    assert rows["register"].overlap.value < 0.9
    assert rows["register"].within_generated == pytest.approx(0, abs=1e-9)


def test_overlap_is_that_of_scipys_densities():
    rng = np.random.default_rng(3)
    made, real = rng.normal(1.0, 1.0, 50), rng.normal(0.0, 1.5, 60)
    rows = compare({"register": made[:, None]}, {"register": real[:, None]})
    apart = np.abs(real[:, None] - real)[np.triu_indices(60, 1)]
    across = np.abs(made[:, None] - real).ravel()
    x = np.linspace(-5, 15, 4000)
    p = gaussian_kde(apart)(x)
    q = gaussian_kde(across, apart.std(ddof=1) * len(apart) ** -0.2 / across.std(ddof=1))(x)
    step = x[1] - x[0]
    assert rows[0].overlap.value == pytest.approx(np.minimum(p, q).sum() * step, abs=0.005)
    told = (p > 1e-9) & (q > 1e-9)
    divergence = (p[told] * np.log(p[told] / q[told])).sum() * step
    assert rows[0].divergence.value == pytest.approx(divergence, abs=0.005)
    assert rows[0].within_real == pytest.approx(apart.mean())
    assert rows[0].between == pytest.approx(across.mean())


def test_intervals_are_over_groups(walks):
    row = compare(walks, walks, groups=np.arange(200) // 20, real_groups=np.arange(200) // 10)[0]
    assert row.overlap.n == 10
    assert row.generated is not None
    assert row.generated.n == 10
    assert row.real is not None
    assert row.real.n == 20
    assert row.overlap.low <= row.overlap.high <= 1


def test_pieces_that_cannot_tell_leave_their_feature_alone(walks):
    gaps = {name: values.copy() for name, values in walks.items()}
    gaps["register"][:150] = np.nan
    rows = {row.feature: row for row in compare(gaps, walks)}
    assert rows["register"].overlap.n == 50
    assert rows["pitch count"].overlap.n == 200


def test_one_piece_is_no_set(walks):
    with pytest.raises(ValueError, match="told by 1 generated and 200 real"):
        compare({name: values[:1] for name, values in walks.items()}, walks)
