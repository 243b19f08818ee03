"""The form of a piece: its sections, and that what returns is what was composed."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from sonicrx_ml import rules, sampling, sections, themes
from sonicrx_ml.canonical import DURATIONS, GRID, Gridded
from sonicrx_ml.notes import Meter
from sonicrx_ml.palette import FAMILIES, RANGES
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import METERS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.sections import Return, Section

PLAIN = SamplingConfig(guidance=1.0, top_p=1.0, temperature=1.0)


# ---------------------------------------------------------------- the form


@given(
    bars=st.integers(2, 1500),
    seconds=st.floats(10, 7200),
    phrase=st.integers(2, 8),
    seed=st.integers(0, 2**31 - 1),
    busy=st.lists(st.integers(0, 1500), max_size=4),
)
@example(bars=360, seconds=1200.0, phrase=4, seed=0, busy=[])
def test_sections_fill_the_piece_return_and_leave_anchors_alone(bars, seconds, phrase, seed, busy):
    taken = np.zeros(bars, dtype=bool)
    for first in busy:
        taken[first : first + 4] = True
    laid = sections.lay(bars, seconds, phrase, seed)
    assert laid == sections.lay(bars, seconds, phrase, seed)
    returns = sections.of_sections(laid, phrase, taken)
    assert laid[0].first == 0
    ends = [section.first + section.bars for section in laid]
    assert ends[:-1] == [section.first for section in laid[1:]]
    assert ends[-1] == bars
    letters = [section.label[0] for section in laid]
    assert len({section.label for section in laid}) == len(laid)
    if len(laid) == 1:
        assert laid[0].label == "A"
        assert bars < 3 * 16 or seconds < 3 * 45 or bars < 3 * 2 * phrase
        return
    assert len(laid) >= 3
    assert letters[-1] == "A"
    assert all(a != b for a, b in itertools.pairwise(letters))
    for section, letter in zip(laid, letters, strict=True):
        origin = laid[letters.index(letter)]
        assert section.first % phrase == 0
        assert section.bars >= 2 * phrase
        back = [each for each in returns if section.first <= each.site < section.stop]
        if section is origin:
            assert not back
        for each in back:
            assert each.bars % phrase == 0
            assert each.source - origin.first == each.site - section.first
            assert each.source + each.bars <= origin.stop - phrase
            assert each.site + each.bars <= section.stop - phrase
            assert not taken[each.source :][: each.bars].any()
            assert not taken[each.site :][: each.bars].any()
        assert back or section is origin or taken.any()


@pytest.mark.parametrize(
    ("bars", "phrase", "busy", "expected"),
    [
        (12, 4, (), []),
        (13, 4, (), [(0, 8, 3)]),
        (28, 4, (), [(0, 8, 3)]),
        (32, 4, (), [(0, 8, 3), (16, 24, 3)]),
        (32, 4, (10,), [(16, 24, 3)]),
        (32, 4, (3, 11), [(0, 8, 3), (16, 24, 3)]),
        (12, 3, (), [(0, 6, 2)]),
    ],
)
def test_the_third_of_four_phrases_begins_as_the_first(bars, phrase, busy, expected):
    taken = np.isin(np.arange(bars), busy)
    form = (Section("A", 0, bars),)
    found = sections.of_phrases(form, phrase, taken)
    assert [(each.source, each.site, each.bars) for each in found] == expected


def test_where_a_section_takes_something_up_its_phrases_do_not():
    form, free = (Section("A", 0, 16), Section("A'", 16, 16)), np.zeros(32, dtype=bool)
    long = (Return(source=4, site=24, bars=8),)
    assert sections.of_phrases(form, 4, free, long) == (Return(source=0, site=8, bars=3),)


def test_twenty_minutes_have_a_form_and_two_minutes_have_none():
    long = plan(Prescription.from_dict({"duration_s": 1200, "tempo": [84, 60], "seed": 3}))
    names = [name for name, _ in long.form]
    assert len(names) == 22
    assert names[:3] == ["A", "B", "A'"]
    starts = np.array([start for _, start in long.form])
    assert np.diff(starts).min() > 30
    assert np.diff(starts).max() < 90
    assert plan(Prescription(duration_s=120)).form == (("A", 0.0),)


# ---------------------------------------------------------------- melodies


def grid_of(rows, meter="4/4", bars=4):
    """From (bar, position, length, pitch, family) rows."""
    numerator, denominator = map(int, meter.split("/"))
    bar, position, length, pitch, family = np.array(rows).T
    meters = (Meter(0.0, numerator, denominator),) * bars
    return Gridded(bar, position, length, pitch, family, np.full(len(rows), 64), meters)


PIANO = list(FAMILIES).index("piano")
STRINGS = list(FAMILIES).index("strings")


def test_the_top_line_is_the_highest_that_sounds():
    line = themes.top_line(
        grid_of([
            (0, 0, 24, 72, PIANO), (0, 0, 24, 48, PIANO),
            (0, 12, 12, 60, PIANO),  # under the 72 that still sounds
            (0, 24, 12, 67, PIANO), (0, 24, 12, 84, STRINGS),
            (1, 0, 12, 74, PIANO),
            (1, 12, 12, 45, PIANO),  # far below: it accompanies
            (2, 0, 12, 76, PIANO),
        ]), 0, 2, "piano",
    )  # fmt: skip
    assert line.onset.tolist() == [0, 24, 48]
    assert line.pitch.tolist() == [72, 67, 74]
    assert line.length.tolist() == [24, 12, 12]


def laid_for(first, later, **controls):
    """A plan whose first half and second half are asked otherwise, and what returns."""
    asked = Prescription.from_dict(
        {"duration_s": 60, "tempo": 64} | controls | {
            name: [[0.0, first[name]], [0.49, first[name]], [0.51, later[name]], [1, later[name]]]
            for name in first
        }
    )  # fmt: skip
    return plan(asked), Return(source=0, site=10, bars=2)


SCALE = themes.Melody(np.arange(8) * 12, np.full(8, 12), 72 + np.arange(8))


def test_it_moves_by_octaves_with_the_register():
    same = themes.taken_up(SCALE, *laid_for({"register": 66}, {"register": 68}))
    lower = themes.taken_up(SCALE, *laid_for({"register": 72}, {"register": 59}))
    assert same.pitch.tolist() == SCALE.pitch.tolist()
    assert lower.pitch.tolist() == (SCALE.pitch - 12).tolist()
    assert len(themes.taken_up(SCALE, *laid_for({"register": 66}, {"register": 72}))) == 0
    flute = laid_for({"register": 72}, {"register": 50}, instruments=["flute"])
    assert themes.taken_up(SCALE, *flute).pitch.min() >= RANGES["flute"][0]


def test_it_is_thinned_to_the_density_and_held_over_what_goes():
    """Two bars of 3.75 s at .8 onsets a second have 6 onsets, of which it may take 4.8."""
    line = themes.taken_up(SCALE, *laid_for({"density": 3.0}, {"density": 0.8}))
    assert line.onset.tolist() == [0, 12, 24, 48]
    assert line.length.tolist() == [12, 12, 24, 48]
    full = themes.taken_up(SCALE, *laid_for({"density": 0.8}, {"density": 3.0}))
    assert full.onset.tolist() == SCALE.onset.tolist()


def test_too_little_is_no_melody():
    assert len(themes.taken_up(SCALE.select(slice(3)), *laid_for({}, {}))) == 0


# ---------------------------------------------------------------- composed


@st.composite
def prescriptions(draw):
    instruments = [["piano"], ["harp", "strings"], ["flute", "piano", "warm_pad"]]
    meter = draw(st.sampled_from(METERS))
    beats = int(meter[0]) if meter[2] == "4" else 2
    values = {
        "duration_s": draw(st.integers(24, 28)) * beats / 3,  # so many bars
        "tempo": draw(st.sampled_from([180, [190, 170]])),
        "meter": meter,
        "mode": draw(st.sampled_from([None, "minor"])),
        "key": draw(st.sampled_from([None, "Eb"])),
        "instruments": draw(st.sampled_from(instruments)),
        "register": draw(st.sampled_from([None, 60, [72, 55]])),
        "density": draw(st.sampled_from([None, [3, 1]])),
        "polyphony": draw(st.sampled_from([None, 2])),
        "seed": draw(st.integers(0, 1000)),
    }
    return Prescription.from_dict({k: v for k, v in values.items() if v is not None})


CROWDED = Prescription.from_dict({
    "duration_s": 112 / 3, "tempo": 180, "key": "Eb", "mode": "minor", "meter": "4/4",
    "register": [72, 55], "instruments": ["harp", "strings"], "seed": 423,
})  # fmt: skip
"""A bar is full before a melody in it has ended."""
PLENTY = Prescription.from_dict({"duration_s": 26, "tempo": 180, "density": 3, "seed": 1})


@settings(max_examples=4, phases=[Phase.explicit, Phase.generate],
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
@given(prescriptions(), st.integers(1, 2), st.booleans())
@example(PLENTY, 1, False)
@example(CROWDED, 2, True)
def test_what_returns_is_the_melody_that_was(bundle, asked, takes, many):
    """In a form of several sections, and within the only one."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sections, "BARS", 6 if many else 16)
        patched.setattr(sections, "SECONDS", 1.0)
        patched.setattr(rules, "TOKENS_PER_BAR", 26)
        laid = plan(asked)
        config = dataclasses.replace(PLAIN, best_of=takes)
        (grid,) = sampling.sample(bundle, [laid], [asked.seed], config, lambda *_: takes - 1)
    lead = laid.families[0]
    size = laid.bars.meters[0].numerator * GRID
    assert {back.bars for back in laid.returns} == ({4} if many else {3})
    melodies = {
        back: themes.taken_up(
            themes.top_line(grid, back.source, back.source + back.bars, lead), laid, back
        )
        for back in laid.returns
    }
    if asked == PLENTY:
        assert any(len(wanted) for wanted in melodies.values())
    for back, wanted in melodies.items():
        mine = grid.family == list(FAMILIES).index(lead)
        onset = (grid.bar - back.site) * size + grid.position
        notes = set(zip(onset[mine], grid.pitch[mine], grid.length[mine], strict=True))
        assert set(zip(wanted.onset, wanted.pitch, wanted.length, strict=True)) <= notes
        assert set(wanted.length) <= set(DURATIONS)
        for bar in np.unique(wanted.onset // size):
            tune = wanted.pitch[wanted.onset // size == bar]
            inside = mine & (grid.bar == back.site + bar)
            assert (grid.pitch[inside] >= tune.min()).sum() == len(tune)


def test_a_section_comes_to_rest_before_the_next(bundle):
    """In its last bar nothing begins on the last beat, and what begins late is of the tonic."""
    asked = Prescription.from_dict({"duration_s": 24, "tempo": 160, "mode": "major"})
    laid = dataclasses.replace(
        plan(asked),
        returns=(),
        sections=(Section("A", 0, 6), Section("B", 6, 5), Section("C", 11, 5)),
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rules, "TOKENS_PER_BAR", 30)
        (grid,) = sampling.sample(bundle, [laid], [1], PLAIN)
    for bar in (5, 10):
        here = grid.bar == bar
        assert here.any()
        assert grid.position[here].max() < 36
        late = here & (grid.position >= 24)
        assert set(grid.pitch[late] % 12) <= {0, 4, 7}


def test_a_plan_without_returns_has_the_rules_of_before(bundle):
    laid = [plan(Prescription(duration_s=20))]
    takes = sampling._Takes(bundle, laid, [1], PLAIN)
    assert len(takes.rules) == len(rules.rules_for(laid, bundle.vocabulary))


def test_the_leading_family_plays_what_is_taken_up():
    asked = {"duration_s": 400, "polyphony": 1, "articulation": 1.0, "seed": 3}
    laid = plan(Prescription.from_dict(asked | {"instruments": ["piano", "cello"]}))
    assert laid.returns
    assert not laid.playing[:, 0].all()  # they take turns
    for back in laid.returns:
        for start in (back.source, back.site):
            assert laid.playing[start : start + back.bars, 0].all()
