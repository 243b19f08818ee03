"""Bins: equal filling, ties, missing values, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sonicrx_ml.labels import CONDITIONS, FIXED_EDGES, FREE, QUANTILE_BINS, Bins, told_mode


def spread(count: int = 1000) -> dict[str, np.ndarray]:
    return {name: np.linspace(0.0, 1.0, count) for name in CONDITIONS}


def test_bins_are_equally_filled() -> None:
    values = {**spread(), "tempo": np.linspace(30, 220, 1000)}
    bins = Bins.fit(values)
    binned = bins.digitize(values)
    for column, name in enumerate(CONDITIONS):
        if name in QUANTILE_BINS:
            counts = np.bincount(binned[:, column])[1:]
            assert len(counts) == QUANTILE_BINS[name]
            assert np.ptp(counts) <= 2
        else:
            assert bins.edges[name] == FIXED_EDGES[name]
    assert bins.sizes == tuple(len(bins.edges[name]) + 2 for name in CONDITIONS)
    assert (binned.max(axis=0) < bins.sizes).all()


def test_digitize_by_hand() -> None:
    """Mode edges are .35 and .65: an edge itself belongs to the bin above it."""
    bins = Bins.fit(spread())
    mode = np.array([0.0, 0.349, 0.35, 0.5, 0.65, 1.0, np.nan])
    column = bins.digitize({"mode": mode})[:, CONDITIONS.index("mode")]
    assert column.tolist() == [1, 1, 2, 2, 3, 3, FREE]


def test_missing_values_and_attributes_are_free() -> None:
    bins = Bins.fit(spread())
    binned = bins.digitize({"density": np.array([np.nan, 0.5])})
    assert binned.shape == (2, len(CONDITIONS))
    assert (np.delete(binned, CONDITIONS.index("density"), axis=1) == FREE).all()
    assert binned[0, CONDITIONS.index("density")] == FREE
    assert binned[1, CONDITIONS.index("density")] > FREE


def test_a_mode_is_told_in_its_home_key_alone() -> None:
    """C major and A minor are keys 0 and 12 + 9; -1 is none, 7 and 19 are G major and G minor."""
    mode, key = np.array([0.9, 0.1, 0.5, 0.9, 0.2, 0.6]), np.array([0, 21, 21, 7, 19, -1])
    told = told_mode(mode, key)
    assert told[:3].tolist() == [0.9, 0.1, 0.5]
    assert np.isnan(told[3:]).all()


def test_missing_values_do_not_move_edges() -> None:
    gaps = {name: np.insert(v, [0, 500, 999], np.nan) for name, v in spread().items()}
    assert Bins.fit(gaps) == Bins.fit(spread())


def test_ties_leave_fewer_bins_and_common_values_below_the_edge() -> None:
    """Where nearly every bar is fully legato, legato is one bin."""
    values = {**spread(), "articulation": np.repeat([0.5, 1.0], [400, 600])}
    (edge,) = Bins.fit(values).edges["articulation"]
    assert 0.5 < edge < 1.0
    values["articulation"] = np.repeat([0.5, 1.0], [100, 900])
    bins = Bins.fit(values)
    assert bins.edges["articulation"] == ()
    binned = bins.digitize(values)[:, CONDITIONS.index("articulation")]
    assert set(binned.tolist()) == {1}
    values["polyphony"] = np.repeat([1.0, 2.0, 3.0], [300, 400, 300])
    assert np.ptp(Bins.fit(values).digitize(values)[300:700, CONDITIONS.index("polyphony")]) == 0


def test_attribute_that_no_bar_has_keeps_one_bin() -> None:
    bins = Bins.fit({**spread(), "energy": np.full(10, np.nan)})
    assert bins.edges["energy"] == ()
    assert bins.sizes[CONDITIONS.index("energy")] == 2


def test_a_fingerprint_is_of_the_values_and_the_names(tmp_path: Path) -> None:
    bins = Bins.fit(spread())  # fixed edges are whole numbers here, and floats once loaded
    bins.save(tmp_path / "bins.json")
    assert Bins.load(tmp_path / "bins.json").fingerprint == bins.fingerprint
    assert len(bins.fingerprint) == 16
    moved = Bins({**bins.edges, "mode": (0.35, 0.66)})
    swapped = Bins({**bins.edges, "density": bins.edges["energy"]})
    assert len({each.fingerprint for each in (bins, moved, swapped)}) == 3


def test_saved_bins_load(tmp_path: Path) -> None:
    bins = Bins.fit(spread())
    bins.save(tmp_path / "bins.json")
    assert Bins.load(tmp_path / "bins.json") == bins


def _edges(**changed: object) -> str:
    return json.dumps({name: changed.get(name, [0.5]) for name in CONDITIONS})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "bins.json: bins are a JSON object"),
        ("{", "Expecting property name"),
        ('{"tempo": [60]}', "legal are .*'density'"),
        (_edges(tempo=60), "bins.json: bins are a JSON object of lists of numbers"),
        (_edges(tempo="60"), "bins.json: bins are a JSON object of lists of numbers"),
        (_edges(tempo=[60, "70"]), "bins.json: bins are a JSON object of lists of numbers"),
        (_edges(tempo=[True]), "bins.json: bins are a JSON object of lists of numbers"),
        (_edges(tempo=[70, 60]), "bin edges of tempo do not increase"),
        (_edges(mode=[0.5, 0.5]), "bin edges of mode do not increase"),
        (_edges(mode=[float("nan")]), "bin edges of mode are not all finite"),
        (_edges(mode=[float("inf")]), "bin edges of mode are not all finite"),
    ],
)
def test_malformed_bins_are_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bins.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Bins.load(path)
