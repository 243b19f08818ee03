"""Copies planted in music are found at their length, wherever and however they are planted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import novelty
from sonicrx_ml.canonical import Gridded
from sonicrx_ml.notes import Ints, Meter
from sonicrx_ml.novelty import GRAM, Shared, between, build, figures, read_pieces, shared

BAR = 48  # positions of 4/4


def line(pitches: Ints, waits: Ints, family: int = 0) -> Gridded:
    """A line with so many positions from each note to the next (the last wait is not used)."""
    at = (np.cumsum(waits) - waits).astype(np.int64)
    return Gridded(
        bar=at // BAR,
        position=at % BAR,
        length=np.full(len(at), 6),
        pitch=pitches.astype(np.int64),
        family=np.full(len(at), family),
        velocity=np.full(len(at), 64),
        meters=(Meter(0.0, 4, 4),) * (int(at[-1]) // BAR + 1),
    )


def together(first: Gridded, second: Gridded) -> Gridded:
    """Two lines at once."""
    names = ("bar", "position", "length", "pitch", "family", "velocity")
    columns = {n: np.concatenate([getattr(first, n), getattr(second, n)]) for n in names}
    return Gridded(**columns, meters=max(first.meters, second.meters, key=len))


def music(seed: int, size: int = 60) -> tuple[Ints, Ints]:
    """Pitches and waits without meaning: every two in a row differ from other seeds' sooner."""
    rng = np.random.default_rng(seed)
    return rng.integers(40, 90, size), 2 * rng.integers(1, 24, size)


def brute_longest(one: tuple[Ints, Ints], other: tuple[Ints, Ints]) -> int:
    """Notes of the longest common run, by trying every pair of places."""
    best = 0
    (p, w), (q, v) = one, other
    for i in range(len(p) - 1):
        for j in range(len(q) - 1):
            k = 0
            while (
                i + k + 1 < len(p)
                and j + k + 1 < len(q)
                and p[i + k + 1] - p[i + k] == q[j + k + 1] - q[j + k]
                and (k == 0 or w[i + k] * v[j + k - 1] == w[i + k - 1] * v[j + k])
            ):
                k += 1
            best = max(best, k + 1 if k else 0)
    return best


short = st.lists(st.tuples(st.integers(60, 63), st.sampled_from([6, 12])), min_size=2, max_size=14)


@settings(max_examples=150)
@given(short, st.lists(short, min_size=1, max_size=3))
def test_the_longest_run_is_that_of_brute_force(wanted, others):
    columns = [tuple(np.array(row).T) for row in [wanted, *others]]
    index = build((f"{k}", line(*other)) for k, other in enumerate(columns[1:]))
    found = shared(line(*columns[0]), index)
    lengths = [brute_longest(columns[0], other) for other in columns[1:]]
    assert found.longest == max(lengths)
    assert found.source is None or lengths[int(found.source)] == max(lengths)


@settings(max_examples=30)
@given(short, short)
def test_runs_of_eight_are_those_of_brute_force(wanted, other):
    wanted, other = tuple(np.array(wanted).T), tuple(np.array(other).T)
    found = shared(line(*wanted), build([("other", line(*other))]))
    runs = range(len(wanted[0]) - GRAM + 1)
    cut = [(wanted[0][i : i + GRAM], wanted[1][i : i + GRAM]) for i in runs]
    assert found.grams == len(cut)
    assert found.found == sum(brute_longest(run, other) == GRAM for run in cut)


@pytest.mark.parametrize("semitones", [0, 7, -5])
@pytest.mark.parametrize("faster", [1, 2])
@pytest.mark.parametrize("family", [0, 4])
@pytest.mark.parametrize("size", [5, 8, 21])
def test_a_planted_copy_is_found_with_its_length(semitones, faster, family, size):
    pitches, waits = music(0)
    copied, paces = pitches[20 : 20 + size] + semitones, waits[20 : 20 + size] // faster
    before, after = music(1, 15), music(2, 15)
    # neither neighbour may go on as the original does
    before[0][-1] = copied[0] - (pitches[20] - pitches[19]) - 1
    after[0][0] = copied[-1] + (pitches[20 + size] - pitches[19 + size]) + 1
    made = line(
        np.concatenate([before[0], copied, after[0]]),
        np.concatenate([before[1], paces, after[1]]),
        family,
    )
    index = build([("other", line(*music(3))), ("original", line(pitches, waits))])
    found = shared(made, index)
    assert (found.longest, found.source) == (size, "original")
    assert found.found == max(0, size - GRAM + 1)
    assert found.grams == 30 + size - GRAM + 1
    assert found.share == found.found / found.grams


def test_another_rhythm_is_no_copy():
    pitches, waits = music(0)
    found = shared(line(pitches, np.roll(waits, 1) + 2 * (np.arange(60) % 7)), build(
        [("original", line(pitches, waits))]))  # fmt: skip
    assert found.longest < GRAM
    assert found.found == 0


def test_no_run_crosses_lines_or_pieces():
    pitches, waits = music(0, 20)
    halves = [("a", line(pitches[:10], waits[:10])), ("b", line(pitches[10:], waits[10:]))]
    found = shared(line(pitches, waits), build(halves))
    assert found.longest == 10
    assert found.found == 2 * (10 - GRAM + 1)
    both = together(line(pitches[:10], waits[:10], 0), line(pitches[10:], waits[10:], 3))
    assert shared(line(pitches, waits), build([("both", both)])).longest == 10
    assert shared(both, build([("whole", line(pitches, waits))])).longest == 10


def test_a_copied_line_is_found_in_an_ensemble():
    original, other = line(*music(0)), line(*music(1), family=3)
    index = build([("original", original)])
    assert shared(together(original, other), index).longest == 60


def test_nothing_to_share():
    one = line(*music(0, 1))
    assert shared(one, build([("a", line(*music(1)))])) == Shared(0, None, 0, 0)
    assert np.isnan(shared(one, build([])).share)
    assert shared(line(*music(0)), build([("one note", one)])) == Shared(0, None, 0, 60 - GRAM + 1)


def test_a_long_repetition_is_indexed_and_found():
    """Ties of thousands of notes, as of a work that is in the corpus twice."""
    pitches, waits = music(0, 3000)
    still = np.full(3000, 60), np.full(3000, 6)
    index = build([("a", line(pitches, waits)), ("a again", line(pitches, waits)),
                   ("still", line(*still))])  # fmt: skip
    assert shared(line(pitches[500:2900], waits[500:2900]), index).longest == 2400
    assert shared(line(*still), index).longest == 3000


def test_samples_of_one_prescription():
    pitches, waits = music(0)
    one, two, three = line(pitches, waits), line(pitches[:30] + 2, waits[:30]), line(*music(5))
    found = between([one, two, three])
    assert [piece.longest for piece in found[:2]] == [30, 30]
    assert (found[0].source, found[1].source) == ("sample 2", "sample 1")
    assert found[1].share == 1.0
    assert found[2].longest < GRAM


def test_figures_stand_beside_the_yardstick():
    real = [Shared(length, "a", 1, 10) for length in range(1, 101)]
    made = [Shared(200, "a", 10, 10), Shared(50, "a", 0, 10), Shared(0, None, 0, 0)]
    found = figures(made, real, groups=[0, 0, 1])
    assert found["longest copied run, notes"].value == pytest.approx(250 / 3)
    assert found["longest copied run, notes"].n == 2
    assert found["8-note runs found"].value == 0.5
    assert found["longer run than 95 % of the yardstick"].value == pytest.approx(1 / 3)


# ---------------------------------------------------------------- the training split


def test_the_training_index_is_kept_while_the_shards_are_the_same(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cache = tmp_path / "index" / "train.npz"
    first = novelty.training_index(prepared, cache)
    piece = next(read_pieces(prepared, "train"))
    found = shared(piece.grid, first)
    assert found.share == 1.0
    monkeypatch.setattr(novelty, "build", lambda pieces: pytest.fail("built again"))
    second = novelty.training_index(prepared, cache)
    assert second.names == first.names
    assert shared(piece.grid, second) == found
    monkeypatch.setattr(novelty, "FORMAT", novelty.FORMAT + 1)
    with pytest.raises(pytest.fail.Exception, match="built again"):
        novelty.training_index(prepared, cache)


def test_pieces_carry_their_name_and_work(prepared: Path):
    pieces = list(read_pieces(prepared, "train"))
    assert len({piece.name for piece in pieces}) == len(pieces)
    assert all(piece.group and len(piece.grid) for piece in pieces)
