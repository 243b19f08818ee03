"""Likeness: what is real is like what is real, what is copied is found, failures are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sonicrx_ml import canonical, likeness, style
from sonicrx_ml.conformance import judge
from sonicrx_ml.notes import write_midi
from sonicrx_ml.novelty import read_pieces
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.shards import prepare_etudes
from sonicrx_ml.suite import Judged

ASKED = Prescription.from_dict({"duration_s": 30})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("etudes") / "prepared"
    prepare_etudes(out, 60)
    return out


@pytest.fixture(scope="module")
def real(prepared, tmp_path_factory):
    return likeness.yardstick(prepared, "test", tmp_path_factory.mktemp("cache"))


def judged(folder: Path, prepared: Path, split: str, count: int) -> list[Judged]:
    """Pieces of a split, as if they had been composed; two of each prescription."""
    found = []
    for entry, piece in enumerate(list(read_pieces(prepared, split))[:count]):
        path = folder / f"{entry}.mid"
        path.write_bytes(write_midi(canonical.unsnap(piece.grid)))
        found.append(Judged(entry // 2, ASKED, judge(ASKED, path.read_bytes()), path))
    return found


def test_pieces_of_the_training_split_are_like_real_ones_and_found_as_copies(
    prepared, real, tmp_path
):
    found = likeness.measure(judged(tmp_path, prepared, "train", 12), real)
    assert (found["pieces"], found["unreadable"]) == (12, 0)
    assert set(found["features"]) == {feature.name for feature in style.FEATURES}
    assert np.mean([row["overlap"].value for row in found["features"].values()]) > 0.7
    auc = found["two-sample AUC"]
    assert auc.low <= 0.75
    copied = found["novelty"]["longest copied run, notes"]
    assert copied.value > likeness.yardstick_figures(real)["novelty"][
        "longest copied run, notes"
    ].value  # fmt: skip
    assert found["novelty"]["8-note runs found"].value == 1.0
    assert found["diversity"]["share of its runs in another take"].n == 6


def test_failed_tracks_are_counted_and_few_are_not_compared(prepared, real, tmp_path):
    good = judged(tmp_path, prepared, "test", 3)
    bad = replace(good[0], report=judge(ASKED, b""))
    found = likeness.measure([*good, bad], real)
    assert (found["pieces"], found["unreadable"]) == (3, 1)
    assert "features" not in found
    assert found["novelty"]["longest copied run, notes"].n == 2
