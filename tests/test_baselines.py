"""Baselines: bars laid under a plan note by note, the nearest piece found, nothing told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sonicrx_ml import baselines
from sonicrx_ml.baselines import etude_column, free_column, lay, retrieved_column
from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.dataset import load_labels, load_split
from sonicrx_ml.notes import Meter
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.shards import prepare_etudes

NAMES = list(FAMILIES)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("etudes") / "prepared"
    prepare_etudes(out, 24)
    return out


def asking(**controls) -> Prescription:
    return Prescription.from_dict({"duration_s": 20, **controls})


def two_bars() -> Gridded:
    """Piano C4 E4 and organ C3 in 4/4; in the second bar piano G4 on the first and last beat."""
    piano, organ = NAMES.index("piano"), NAMES.index("organ")
    rows = [(0, 0, piano, 60), (0, 0, organ, 48), (0, 12, piano, 64),
            (1, 0, piano, 67), (1, 36, piano, 67)]  # fmt: skip
    bar, position, family, pitch = np.array(rows).T
    fixed = np.full(len(rows), 12)
    return Gridded(bar, position, fixed, pitch, family, fixed, (Meter(0.0, 4, 4),) * 2)


def test_bars_come_round_and_families_by_the_number_of_their_notes():
    laid = plan(asking(tempo=60, meter="3/4", instruments=["flute", "harp"]))
    found = lay(two_bars(), laid)
    assert len(found.meters) == len(laid) == 7
    assert str(found.meters[0]) == "3/4"
    flute, harp = NAMES.index("flute"), NAMES.index("harp")
    odd = [(0, flute, 60), (0, harp, 48), (12, flute, 64)]
    even = [(0, flute, 67)]  # the last beat overhangs a bar of 3/4
    for bar in range(7):
        rows = np.flatnonzero(found.bar == bar)
        notes = sorted(zip(found.position[rows], found.family[rows], found.pitch[rows],
                           strict=True))  # fmt: skip
        assert notes == sorted(odd if bar % 2 == 0 else even)
    keys = np.lexsort((found.pitch, found.family, found.position, found.bar))
    assert np.array_equal(keys, np.arange(len(found)))


def test_more_families_than_asked_share_them():
    laid = plan(asking(instruments=["guitar"]))
    assert set(lay(two_bars(), laid).family) == {NAMES.index("guitar")}


def test_the_piece_with_the_asked_values_is_the_nearest(prepared):
    labels = load_labels(prepared, "test").to_pylist()
    shelf = baselines._Shelf(prepared, "test")
    pieces = [row["tokens"] for row in load_split(prepared, "test")]
    for index, row in enumerate(labels):
        asked = {name: row[name] for name in ("tempo", "polyphony", "register")}
        prescription = asking(meter=shelf.meters[index], **asked)
        found = shelf.nearest(prescription, plan(prescription))
        same = [len(found) == (shelf.vocabulary.kind[p] == 7).sum() for p in pieces]
        assert same[index]


@pytest.mark.parametrize("name", ["etudes", "retrieved"])
def test_what_is_written_in_performance_is_met(prepared, name):
    column = etude_column() if name == "etudes" else retrieved_column(prepared)
    asked = [
        asking(tempo=[90, 60], meter="3/4", key="E", mode="minor", instruments=["harp"]),
        asking(tempo=70, instruments=["flute", "strings"], seed=3),
    ]
    made = column.make(asked)
    assert column.name == name
    for midi, report in made:
        assert midi[:4] == b"MThd"
        assert report.failure is None
        assert report.row("duration").verdict == report.row("tempo").verdict == "pass"
        asked_for = set(str(report.row("instruments").asked).split(", "))
        assert set(str(report.row("instruments").realised).split(", ")) <= asked_for
    assert [report.row("meter").realised for _, report in made] == ["3/4", "4/4"]


def test_the_free_composer_is_judged_by_what_it_was_not_told(bundle):
    asked = [asking(tempo=140, meter="3/4", seed=s) for s in (1, 2)]
    made = free_column(bundle, SamplingConfig()).make(asked)
    for _, report in made:
        assert report.row("tempo").verdict == report.row("meter").verdict == "fail"
        assert report.row("duration").verdict == "pass"
    assert made[0][0] != made[1][0]


def test_grid_positions_are_kept_within_bars():
    laid = plan(asking(meter="2/4"))
    assert lay(two_bars(), laid).position.max() < 2 * GRID
