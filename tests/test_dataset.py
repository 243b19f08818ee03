"""Windows: pure functions of seed and index, conditions that fit their tokens, fair dropout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from datasets import Dataset

from sonicrx_ml.canonical import Gridded
from sonicrx_ml.dataset import (
    ALIGNED,
    Batch,
    EvaluationWindows,
    TrainingWindows,
    load_labels,
    load_split,
    piece_weights,
)
from sonicrx_ml.keys import HOME_KEYS
from sonicrx_ml.labels import (
    CONDITIONS,
    FREE,
    REMAINING_EDGES,
    SILENT,
    SOUNDS,
    Bins,
    condition_names,
    condition_sizes,
    remaining_bucket,
)
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.recipe import DataConfig
from sonicrx_ml.shards import prepare_etudes
from sonicrx_ml.tokens import BAR, PITCH, Vocabulary, decode

SIZE = 64
VOCABULARY = Vocabulary.build()
PLAIN = DataConfig(prepared="", drop_attribute=0.0, drop_all=0.0, reorchestrate=0.0, divide=0.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("etudes") / "prepared"
    prepare_etudes(out, 12)
    return out


@pytest.fixture(scope="module")
def rows(prepared) -> Dataset:
    return load_split(prepared, "train")


@pytest.fixture(scope="module")
def bins(prepared) -> Bins:
    return Bins.load(prepared / "bins.json")


@pytest.fixture(scope="module")
def weights(prepared) -> np.ndarray:
    return piece_weights(load_labels(prepared, "train"), PLAIN)


@pytest.fixture(scope="module")
def training(rows, bins, weights):
    def make(config: DataConfig = PLAIN, seed: int = 1):
        return TrainingWindows(rows, VOCABULARY, bins, SIZE, weights, config, seed)

    return make


def equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(np.array_equal(a[name], b[name]) for name in ("ids", "bar", "conditions"))


# ---------------------------------------------------------------- purity


def test_sample_depends_on_seed_and_index_alone(training) -> None:
    """In any order, from any number on: the stream of an uninterrupted run."""
    config = DataConfig(prepared="", drop_attribute=0.3, drop_all=0.1, reorchestrate=0.5)
    whole = [training(config)[i] for i in range(40)]
    later = training(config)
    assert all(equal(later[i], whole[i]) for i in reversed(range(20, 40)))
    other = training(config, seed=2)
    assert sum(equal(other[i], whole[i]) for i in range(40)) <= 1


def test_windows_start_at_bars_and_are_nearly_full(training) -> None:
    samples = [training()[i] for i in range(100)]
    starts = {int(sample["ids"][0]) for sample in samples}
    assert starts == {VOCABULARY.bos, VOCABULARY.bar}
    ends = [sample for sample in samples if sample["ids"][-1] == VOCABULARY.eos]
    full = [sample for sample in samples if len(sample["ids"]) == SIZE + 1]
    assert len(full) + len(ends) >= len(samples)
    assert len(ends) >= 5
    assert sum(sample["ids"][0] == VOCABULARY.bos for sample in samples) >= 5


def test_pieces_are_drawn_by_weight(rows, bins) -> None:
    weights = np.zeros(len(rows))
    weights[[2, 5]] = 0.25, 0.75
    windows = TrainingWindows(rows, VOCABULARY, bins, SIZE, weights, PLAIN, seed=3)
    offsets, tokens = windows.pieces.lists["tokens"]  # one token that tells the piece
    told = np.repeat(np.arange(len(rows)), np.diff(offsets)).astype(tokens.dtype)
    windows.pieces.lists["tokens"] = offsets, told
    drawn = [int(windows[i]["ids"][-1]) for i in range(400)]
    assert set(drawn) == {2, 5}
    assert 250 < drawn.count(5) < 350  # 300, standard deviation 8.7


# ---------------------------------------------------------------- alignment


def test_tokens_conditions_and_bars_are_aligned(rows, bins) -> None:
    """Every token of every window, looked up again in the piece, one by one."""
    windows = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    for index in range(0, len(windows), 7):
        piece, start = windows.spans[index]
        row, sample = rows[piece], windows[index]
        stream = [VOCABULARY.bos, *row["tokens"]]
        first = None
        for k, token in enumerate(sample["ids"]):
            place = start + k
            assert token == stream[place]
            bar = max(0, sum(t == VOCABULARY.bar for t in stream[: place + 1]) - 1)
            first = bar if first is None else first
            assert sample["bar"][k] == bar - first
            told = sample["conditions"][sample["bar"][k]]
            values = {name: np.array([row[name][bar]]) for name in CONDITIONS}
            if row["bar_key"][bar] not in HOME_KEYS:
                values["mode"] = np.array([np.nan])
            attributes, remaining = told[: len(CONDITIONS)], told[len(CONDITIONS)]
            assert attributes.tolist() == bins.digitize(values)[0].tolist()
            assert remaining == remaining_bucket(np.array(len(row["bar_start"]) - bar))
        assert len(sample["conditions"]) == sample["bar"][-1] + 1


def test_a_mode_is_told_in_its_home_key_alone(rows, bins) -> None:
    """Bars 0, 1, ... in C major, A minor, no key, G major and A major, all of them major."""
    row = {**rows[0], "bar_key": np.resize([0, 21, -1, 7, 9], len(rows[0]["bar_start"]))}
    row["mode"] = np.full(len(row["bar_start"]), 0.9)
    expected = np.resize([3, 3, FREE, FREE, FREE], len(row["bar_start"]))
    windows = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    for bar in (0, 1, 3):
        start = row["bar_start"][bar] + (bar > 0)
        told = windows.window(row, start)["conditions"][:, CONDITIONS.index("mode")]
        assert told.tolist() == expected[bar : bar + len(told)].tolist()


def test_selected_rows_are_refused(rows, bins) -> None:
    with pytest.raises(ValueError, match="selected or shuffled; legal are those of `load_split`"):
        EvaluationWindows(rows.select([3, 1]), VOCABULARY, bins, SIZE)


def test_families_are_those_with_a_note_that_begins_in_the_bar(rows, bins) -> None:
    windows = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    for index in range(0, len(windows), 9):
        piece, start = windows.spans[index]
        grid, sample = decode(rows[piece]["tokens"], VOCABULARY), windows[index]
        first = decode_bar(rows[piece]["tokens"], max(0, start - 1))
        for k, told in enumerate(sample["conditions"][:, -len(FAMILIES) :]):
            sounding = set(grid.family[grid.bar == first + k].tolist())
            wanted = [SOUNDS if f in sounding else SILENT for f in range(len(FAMILIES))]
            assert told.tolist() == wanted


def decode_bar(tokens: np.ndarray, place: int) -> int:
    """The bar that a token of a piece belongs to."""
    return int((VOCABULARY.kind[tokens[: place + 1]] == BAR).sum()) - 1


def test_remaining_buckets() -> None:
    """1 to 16 bars exactly, then coarser."""
    assert remaining_bucket(np.arange(1, 17)).tolist() == list(range(1, 17))
    assert remaining_bucket(np.array([17, 24, 25, 32, 97, 10_000])).tolist() == [
        17, 17, 18, 18, 22, 22,
    ]  # fmt: skip


def test_conditions_are_below_their_sizes(training, bins) -> None:
    sizes = condition_sizes(bins)
    assert len(sizes) == len(condition_names()) == len(CONDITIONS) + 1 + len(FAMILIES)
    assert sizes[len(CONDITIONS)] == len(REMAINING_EDGES) + 2
    samples = [training()[i]["conditions"] for i in range(60)]
    assert (np.concatenate(samples).max(axis=0) < sizes).all()
    assert all((conditions[:, len(CONDITIONS) :] > FREE).all() for conditions in samples)


# ---------------------------------------------------------------- evaluation


@pytest.mark.parametrize("size", [64, 100_000])
def test_evaluation_predicts_every_token_once(rows, bins, size: int) -> None:
    windows = EvaluationWindows(rows, VOCABULARY, bins, size)
    predicted: dict[int, list[int]] = {}
    for index in range(len(windows)):
        ids = windows[index]["ids"]
        assert 2 <= len(ids) <= size + 1
        predicted.setdefault(windows.spans[index][0], []).extend(ids[1:].tolist())
    assert [predicted[i] for i in range(len(rows))] == [row["tokens"].tolist() for row in rows]


def test_limit_spreads_evenly(rows, bins) -> None:
    every = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    some = EvaluationWindows(rows, VOCABULARY, bins, SIZE, limit=5)
    assert len(some) == 5
    places = [every.spans.index(span) for span in some.spans]
    assert (places[0], places[-1]) == (0, len(every) - 1)
    assert np.ptp(np.diff(places)) <= 1
    assert len(EvaluationWindows(rows, VOCABULARY, bins, SIZE, limit=10**6)) == len(every)


def test_free_evaluation_is_told_nothing(rows, bins) -> None:
    told = EvaluationWindows(rows, VOCABULARY, bins, SIZE)[3]
    free = EvaluationWindows(rows, VOCABULARY, bins, SIZE, free=True)[3]
    assert np.array_equal(free["ids"], told["ids"])
    assert (free["conditions"] == FREE).all()
    assert (told["conditions"] != FREE).any()


# ---------------------------------------------------------------- dropout


def hidden(sample: dict[str, Any]) -> np.ndarray:
    """Which of the A conditions are free throughout the sample."""
    return (sample["conditions"] == FREE).all(axis=0)


def test_dropout_rates(training) -> None:
    """1 sample in 10 is told nothing; of the rest each attribute is free 1 time in 5, on its own,
    a family where it is, or where all families are, 1 - .8 x .8, and the bars that remain never.

    Rates of 2,000 samples, within 4 standard deviations.
    """
    count = 2000
    told = training()
    windows = training(replace(PLAIN, drop_attribute=0.2, drop_all=0.1))
    flags = np.array([hidden(windows[i]) for i in range(count)])
    known = ~np.array([hidden(told[i]) for i in range(count)])
    every = flags.all(axis=1)
    assert near(every.mean(), 0.1, count)
    for column in range(flags.shape[1]):
        rate = flags[known[:, column] & ~every, column].mean()
        if column == len(CONDITIONS):
            assert rate == 0
        else:
            assert near(rate, 0.2 if column < len(CONDITIONS) else 0.36, count), column
    families = flags[~every, len(CONDITIONS) + 1 :]
    assert near(families.all(axis=1).mean(), 0.2, count)
    both = (flags[:, 0] & flags[:, len(CONDITIONS) - 1])[~every].mean()
    assert near(both, 0.04, count)


def near(rate: float, expected: float, count: int) -> bool:
    return abs(rate - expected) < 4 * np.sqrt(expected * (1 - expected) / count)


def test_dropout_is_per_sample_and_whole(training, rows, bins) -> None:
    """Samples of one batch differ; an attribute is free in all bars of a sample or in none."""
    windows, told = training(replace(PLAIN, drop_attribute=0.5)), training()
    patterns = set()
    for i in range(16):
        sample, whole = windows[i], told[i]
        assert np.array_equal(sample["ids"], whole["ids"])
        for column in range(len(condition_names())):
            values, full = sample["conditions"][:, column], whole["conditions"][:, column]
            assert (values == FREE).all() or np.array_equal(values, full)
        patterns.add(tuple(hidden(sample)))
    assert len(patterns) > 8


def test_no_dropout_and_all_dropout(training) -> None:
    assert all(hidden(training(replace(PLAIN, drop_all=1.0))[i]).all() for i in range(10))
    assert not any(hidden(training()[i])[len(CONDITIONS) :].any() for i in range(10))


# ---------------------------------------------------------------- re-orchestration


def test_reorchestration_changes_families_and_nothing_else(training) -> None:
    """The conditions of the bars are those of the changed notes."""
    changed = training(replace(PLAIN, reorchestrate=1.0, divide=1.0))
    moved = 0
    for i in range(60):
        old, new = training()[i], changed[i]
        shared = min(old["bar"][-1], new["bar"][-1])  # whole bars of both
        if not shared:
            continue
        before, after = (notes_before(sample, shared) for sample in (old, new))
        columns = ("bar", "position", "length", "pitch")
        assert {*zip(*(getattr(before, c).tolist() for c in columns), strict=True)} == {
            *zip(*(getattr(after, c).tolist() for c in columns), strict=True)
        }
        moved += set(before.family) != set(after.family)
        attributes = slice(0, len(CONDITIONS) + 1)
        assert np.array_equal(old["conditions"][:shared, attributes],
                              new["conditions"][:shared, attributes])  # fmt: skip
        for bar, told in enumerate(new["conditions"][:shared, -len(FAMILIES) :]):
            sounding = set(after.family[after.bar == bar].tolist())
            assert set(np.flatnonzero(told == SOUNDS).tolist()) == sounding
    assert moved > 30


def notes_before(sample: dict[str, Any], bar: int) -> Gridded:
    """The notes of a window's first bars."""
    return decode(sample["ids"][sample["bar"] < bar], VOCABULARY)


@pytest.mark.parametrize("name", ["reorchestrate", "divide"])
def test_reorchestration_rate(training, name: str) -> None:
    count = 400
    changed: list[dict[str, Any]] = [{name: share} for share in (0.3, 1.0)]
    config, certainly = (replace(PLAIN, **values) for values in changed)
    windows, plain, always = (training(c) for c in (config, PLAIN, certainly))
    able = [i for i in range(count) if not equal(always[i], plain[i])]
    rate = np.mean([not equal(windows[i], plain[i]) for i in able])
    assert len(able) > 50
    if name == "reorchestrate":  # dividing draws again whether a role stays
        assert near(float(rate), 0.3, len(able))
    assert 0.1 < rate < 0.5


# ---------------------------------------------------------------- weights


def labels(**columns: list[Any]) -> pa.Table:
    count = len(next(iter(columns.values())))
    common: dict[str, list[Any]] = {
        "polyphony": [4.0] * count, "density": [2.0] * count, "chromaticism": [0.03] * count,
        "n_tokens": [1000] * count, "families": [[0, 1, 2]] * count, "source": ["s"] * count,
    }  # fmt: skip
    return pa.table(common | columns)


def test_weights_by_hand() -> None:
    """Polyphony 6 costs e, density 4 e^2, chromaticism .13 e, five families 4."""
    table = labels(
        polyphony=[1.0, 6.0, 4.0, 4.0, 4.0],
        density=[0.5, 2.0, 4.0, 2.0, 2.0],
        chromaticism=[0.0, 0.0, 0.0, 0.13, 0.0],
        families=[[0], [0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]],
    )
    weights = piece_weights(table, PLAIN)
    assert weights.sum() == pytest.approx(1.0)
    ratio = [1, np.exp(-1), np.exp(-2), np.exp(-1), 1 / 4]
    np.testing.assert_allclose(weights / weights[0], ratio, rtol=1e-9)
    half = piece_weights(table, DataConfig(prepared="", calm=0.5))
    np.testing.assert_allclose(half / half[0], np.sqrt(ratio), rtol=1e-9)
    none = piece_weights(table, DataConfig(prepared="", calm=0.0))
    np.testing.assert_allclose(none, 0.2)


def test_weights_of_length_and_source() -> None:
    table = labels(n_tokens=[100, 1600, 100], source=["s", "s", "rare"])
    config = DataConfig(prepared="", source_weights={"rare": 3.0})
    weights = piece_weights(table, config)
    np.testing.assert_allclose(weights / weights[0], [1, 8, 3])  # 16^.75 = 8


def test_a_weight_for_a_source_that_is_not_there_is_refused() -> None:
    config = DataConfig(prepared="", source_weights={"s": 2.0, "lieder": 3.0})
    message = "'lieder' is no source of the training split; legal are rare, s$"
    with pytest.raises(ValueError, match=message):
        piece_weights(labels(source=["s", "s", "rare"]), config)


def test_piece_without_bars_is_never_drawn() -> None:
    weights = piece_weights(labels(density=[2.0, np.nan]), DataConfig(prepared=""))
    assert weights.tolist() == [1.0, 0.0]
    with pytest.raises(ValueError, match=r"every piece .* has weight 0"):
        piece_weights(labels(source=["s"]), DataConfig(prepared="", source_weights={"s": 0.0}))


@pytest.mark.parametrize("name", ["drop_attribute", "drop_all", "reorchestrate", "divide", "calm"])
def test_shares_are_checked(name: str) -> None:
    changed: dict[str, Any] = {name: 1.5}
    with pytest.raises(ValueError, match=rf"data.{name}=1.5; legal are 0 to 1"):
        replace(PLAIN, **changed)


# ---------------------------------------------------------------- batches


def test_collate_pads(rows, bins) -> None:
    windows = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    short = next(i for i in range(len(windows)) if len(windows[i]["ids"]) < SIZE)
    samples = [windows[0], windows[short]]
    batch: Batch = windows.collate(samples)
    longest = max(len(sample["conditions"]) for sample in samples)
    assert batch.ids_BT.shape == batch.targets_BT.shape == batch.bar_BT.shape == (2, SIZE)
    bars = -(-longest // ALIGNED) * ALIGNED
    assert batch.conditions_BKA.shape == (2, bars, len(condition_names()))
    for row, sample in enumerate(samples):
        n = len(sample["ids"])
        assert batch.ids_BT[row, : n - 1].tolist() == sample["ids"][:-1].tolist()[:SIZE]
        assert batch.targets_BT[row, : n - 1].tolist() == sample["ids"][1:].tolist()
        assert (batch.targets_BT[row, n - 1 :] == VOCABULARY.pad).all()
        bars = len(sample["conditions"])
        assert batch.conditions_BKA[row, :bars].tolist() == sample["conditions"].tolist()
        assert (batch.conditions_BKA[row, bars:] == FREE).all()
    assert (batch.bar_BT < longest).all()
    pitches = sum((VOCABULARY.kind[s["ids"][1:]] == PITCH).sum() for s in samples)
    assert int(batch.notes) == pitches
    assert batch.ids_BT.dtype == batch.conditions_BKA.dtype == torch.int64


def test_evaluation_counts_every_note(rows, bins, prepared: Path) -> None:
    windows = EvaluationWindows(rows, VOCABULARY, bins, SIZE)
    notes = sum(int(windows.collate([windows[i]]).notes) for i in range(len(windows)))
    assert notes == sum(load_labels(prepared, "train")["n_notes"].to_pylist())


# ---------------------------------------------------------------- loading


def test_labels_are_in_the_order_of_rows(rows, prepared: Path) -> None:
    assert load_labels(prepared, "train")["file"].to_pylist() == list(rows["file"])


def test_missing_data_is_named(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not a prepared folder; scripts/prepare_data\.py"):
        load_split(tmp_path, "train")
    (tmp_path / "bins.json").touch()
    with pytest.raises(ValueError, match="has no piece in its valid split: prepare more files"):
        load_split(tmp_path, "valid")
