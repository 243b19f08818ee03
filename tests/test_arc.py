"""The peak of an arc: where it is asked, with an appoggiatura, whatever the composer draws."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from sonicrx_ml import appoggiatura, arc, motifs
from sonicrx_ml.arriving import arrivals_for
from sonicrx_ml.canonical import unsnap
from sonicrx_ml.conformance import judge
from sonicrx_ml.curve import Curve
from sonicrx_ml.expression import perform
from sonicrx_ml.notes import Meter, Notes, write_midi
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import METERS, MODES, TONICS, Prescription


def chorale(*rows):
    """Notes (onset in quarters, length, pitch, program) of a piece in 4/4."""
    onset, length, pitch, program = np.array(rows, dtype=float).T
    columns = pitch.astype(int), np.full(len(rows), 64), program.astype(int)
    return Notes(onset, length, *columns, (Meter(0.0, 4, 4),))


# ---------------------------------------------------------------- what counts as one


@pytest.mark.parametrize(
    ("bass", "upper", "resolution"), [(48, 65, 64), (52, 65, 64), (55, 65, 64), (53, 71, 69)]
)
def test_textbook_suspensions_are_appoggiaturas(bass, upper, resolution):
    """4-3, 9-8 and 7-6 over C, E and G, and the raised fourth over F; in every key."""
    for shift in range(12):
        notes = chorale(
            (4, 4, bass + shift, 0), (4, 2, upper + shift, 40), (6, 2, resolution + shift, 40)
        )
        assert appoggiatura.heard(notes, 4.0, 8.0) == 1
        assert appoggiatura.heard(notes, 0.0, 4.0) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"pitch": (0, 50)},  # consonant from the start
        {"pitch": (2, 60)},  # left by a leap
        {"pitch": (2, 65)},  # struck again
        {"program": (2, 41)},  # resolved by another
        {"onset": (1, 5.0)},  # off the beat
        {"onset": (2, 8.5)},  # too late
        {"duration": (1, 3.0)},  # not over when it resolves
    ],
    ids=str,
)
def test_anything_else_is_none(change):
    notes = chorale((4, 4, 48, 0), (4, 2, 65, 40), (6, 2, 64, 40))
    ((name, (row, value)),) = change.items()
    column = getattr(notes, name).copy()
    column[row] = value
    assert appoggiatura.heard(dataclasses.replace(notes, **{name: column}), 4.0, 8.0) == 0


# ---------------------------------------------------------------- the arc


@pytest.mark.parametrize("energy", [0.3, [0.6, 0.2], [0.2, 0.6], [[0, 0.6], [0.5, 0.2], [1, 0.6]]])
def test_the_peak_is_the_highest_point_of_whatever_is_asked(energy):
    asked = {"energy": Curve.of(energy), "density": Curve.of([3.0, 1.2]), "register": None}
    laid = arc.raised({**asked, "articulation": None, "chromaticism": None}, 0.6, 0.05, 0.2)
    for name, curve in laid.items():
        values = curve(np.linspace(0, 1, 1001))
        if name != "chromaticism":
            assert 0.6 <= np.linspace(0, 1, 1001)[values.argmax()] <= 0.65 + 1e-9
            assert np.sort(values)[-100] < values.max()


def test_an_arc_takes_four_bars():
    with pytest.raises(ValueError, match="legal is at least 4"):
        Prescription.from_dict({"duration_s": 16, "tempo": 50, "arc": "build_release"})


def test_the_judge_tells_where_the_peak_is():
    asked = Prescription.from_dict({"duration_s": 80, "tempo": 96, "arc": "build_release"})
    asked = dataclasses.replace(asked, arc_peak=0.5)
    laid, edges = plan(asked), plan(asked).bars.edges
    assert laid.climax is not None
    for shift, verdict in ((0, "pass"), (2, "pass"), (-6, "fail")):
        loud = 40 + 60 * np.exp(-((np.arange(31) - laid.climax.bar + 0.5 - shift) ** 2) / 8)
        notes = chorale(*((edge, 4, 60, 0) for edge in edges[:31]))
        notes = dataclasses.replace(notes, velocity=loud.astype(int), tempo=laid.tempo)
        row = judge(asked, write_midi(notes)).row("arc peak")
        assert (row.asked, row.verdict) == (16.0, verdict)
    assert judge(asked, write_midi(notes)).row("appoggiatura").verdict == "fail"
    plain = judge(dataclasses.replace(asked, arc=None, arc_peak=None), write_midi(notes))
    assert {plain.row(name).verdict for name in ("arc peak", "appoggiatura")} == {"not asked"}


# ---------------------------------------------------------------- composed


@st.composite
def prescriptions(draw):
    families = draw(st.lists(st.sampled_from(list(FAMILIES)), max_size=4, unique=True))
    names = {of: name for name, (_, of) in PALETTE.items()}
    values = {
        "duration_s": draw(st.floats(24, 36)),
        "tempo": draw(st.sampled_from([140, [160, 130], 180])),
        "arc": "build_release",
        "arc_peak": draw(st.floats(0.3, 0.9)),
        "anchor": draw(st.sampled_from([None, None, motifs.composed(1)])),
        "key": draw(st.none() | st.sampled_from(TONICS)),
        "mode": draw(st.none() | st.sampled_from(MODES)),
        "meter": draw(st.sampled_from(METERS)),
        "instruments": [names[family] for family in families] or None,
        "register": draw(st.none() | st.sampled_from([40, 84, [40, 84]])),
        "density": draw(st.none() | st.floats(0.2, 8)),
        "polyphony": draw(st.none() | st.floats(1, 8)),
        "articulation": draw(st.none() | st.floats(0.4, 1)),
        "seed": draw(st.integers(0, 99)),
    }
    return Prescription.from_dict({k: v for k, v in values.items() if v is not None})


THICK = Prescription.from_dict({
    "duration_s": 26.436752801378585, "tempo": 180, "mode": "minor", "meter": "3/4", "register": 84,
    "polyphony": 6.261698489377763, "instruments": ["horn"], "arc": "build_release",
    "arc_peak": 0.631948123943496, "seed": 19,
})  # fmt: skip
"""Notes held for the sake of polyphony would sound on into the peak."""


@settings(max_examples=6, phases=[Phase.explicit, Phase.generate])
@given(prescriptions(), st.integers(0, 1000))
@example(THICK, 679)
def test_whatever_is_drawn_the_peak_has_an_appoggiatura(drawn_at_random, asked, seed):
    laid = plan(asked)
    notes = perform(unsnap(drawn_at_random(laid, np.random.default_rng(seed))), laid)
    report = judge(asked, write_midi(notes))
    assert report.row("appoggiatura").verdict == "pass"
    assert laid.climax is not None
    if laid.anchors:
        assert report.row("anchor").verdict == "pass"
    else:
        assert laid.climax.bar == asked.peak_bar


def test_an_arc_without_room_for_its_appoggiatura_is_missed():
    """All bars but the last are the anchor's."""
    asked = Prescription.from_dict({"duration_s": 16, "tempo": 80, "arc": "build_release",
                                    "anchor": motifs.composed(1), "anchor_at": [0]})  # fmt: skip
    assert plan(asked).climax is None
    notes = chorale(*((beat, 1, 60 + beat % 5, 0) for beat in range(20)))
    row = judge(asked, write_midi(notes)).row("appoggiatura")
    assert (row.asked, row.realised, row.verdict) == (1, None, "fail")


def test_without_an_arc_there_is_no_such_rule():
    laid = plan(Prescription(duration_s=20))
    assert laid.climax is None
    assert laid.forced == ()
    assert arrivals_for([laid]) == ([], [])
