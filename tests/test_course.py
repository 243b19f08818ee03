"""A course: gradual, varied, with one anchor, and every day past the listener's screen."""

from __future__ import annotations

import itertools
from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import pytest

from sonicrx_ml import course
from sonicrx_ml.goals import goal_names, prescribe
from sonicrx_ml.knobs import knobs, moves_between
from sonicrx_ml.listener import Listener
from sonicrx_ml.motifs import composed
from sonicrx_ml.plan import plan
from sonicrx_ml.screening import ScreenError, items

TEXT = resources.files("sonicrx_ml").joinpath("courses.toml").read_text(encoding="utf-8")
CLEAR = dict.fromkeys(items(), False)
SHORT = 60.0


def person(*yes, **known) -> Listener:
    return Listener(id="P07", screening=CLEAR | dict.fromkeys(yes, True), **known)


def means(found, control):
    return [float(getattr(asked, control).integral(1.0)) for asked in found.prescriptions]


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("one_week", range(1, 8)),
        ("two_weeks", range(1, 15)),
        ("four_weeks", [1, 3, 5, 6, 8, 10, 12, 13, 15, 17, 19, 20, 22, 24, 26, 27]),
    ],
)
def test_days_of_a_shape(name, numbers):
    assert course.shapes()[name].numbers == tuple(numbers)


def test_progress_holds_moves_and_rests():
    shape = replace(course.shapes()["two_weeks"], hold=0.25, rest=0.25, days=(1, 3, 5, 7), weeks=1)
    assert [shape.progress(day) for day in (1, 2, 4, 6, 7)] == [0, 0, 0.5, 1, 1]
    single = replace(shape, days=(3,))
    assert single.progress(3) == 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("weeks = 1", "weeks = 0", "one_week: weeks 0; legal are 1 to 12"),
        ("days = [1, 2, 3", "days = [3, 2, 1", r"one_week: days \[3, 2, 1, .*legal are rising"),
        ("hold = 0.2", "hold = 0.8", "one_week: hold 0.8, rest 0.2; legal add up to under 1"),
        ('strength = "E"', 'strength = "Z"', "shapes one_week: strength 'Z'; legal A, B"),
        ("tempo = -0.75", "key = -0.75", "anxiety: key moves; legal are tempo, density"),
        ("tempo = -0.75", "tempo = -1.5", "anxiety: tempo moves by -1.5; legal are -1 to 1"),
        ("[goals.anxiety]", "[goals.joy]", "goals joy, .*legal are all of"),
    ],
)
def test_wrong_data_are_refused_at_load(old, new, said):
    assert old in TEXT
    with pytest.raises(ValueError, match=said):
        course.parse(TEXT.replace(old, new, 1))


# ---------------------------------------------------------------- a course


@pytest.mark.parametrize("goal", goal_names())
@pytest.mark.parametrize("shape", course.shapes())
def test_every_goal_has_every_course(goal, shape):
    """One way, from the first day's prescription, as far as is said, within the goal's ranges."""
    found = course.plan(shape, goal, SHORT, listener=person())
    first = found.prescriptions[0]
    assert [day.number for day in found.days] == list(course.shapes()[shape].numbers)
    for control, end in found.moves.items():
        steps = np.diff(means(found, control)) * np.sign(end)
        assert (steps >= -1e-3).all()
        assert steps.sum() > 0
    moving = [knob for knob in knobs(goal) if knob.control in found.moves]
    last = moves_between(first, replace(found.prescriptions[-1], key=None), moving)
    assert last == pytest.approx([found.moves[knob.control] for knob in moving], abs=0.02)
    assert set(found.moves) == set(course.moves_for(goal).moves)


def test_the_first_day_is_what_is_prescribed():
    found = course.plan("one_week", "anxiety", SHORT, seed=5)
    assert found.prescriptions[0] == prescribe("anxiety", SHORT, seed=5, key="C")


def test_the_anchor_is_the_same_on_every_day_and_composed_once_for_the_listener():
    found = course.plan("two_weeks", "anxiety", SHORT, listener=person())
    assert len({asked.anchor for asked in found.prescriptions}) == 1
    assert found.anchor is not None
    again = course.plan("one_week", "grief", SHORT, listener=person())
    assert again.anchor == found.anchor
    other = course.plan("one_week", "grief", SHORT, listener=replace(person(), id="P08"))
    assert other.anchor != found.anchor
    mine = composed(3)
    assert course.plan("one_week", "grief", SHORT, listener=person(anchor=mine)).anchor == mine
    assert course.plan("one_week", "grief", SHORT, listener=person(), anchor=None).anchor is None
    assert course.plan("one_week", "grief", SHORT).anchor is None


def test_no_two_days_are_asked_alike():
    found = course.plan("two_weeks", "anxiety", SHORT)
    near = itertools.pairwise(found.prescriptions)
    assert all(a.seed != b.seed and a.key != b.key for a, b in near)
    leads = [(asked.instruments or ("",))[0] for asked in found.prescriptions]
    assert leads[:4] == ["piano", "strings", "harp", "piano"]  # a pad does not lead
    assert len({frozenset(asked.instruments or ()) for asked in found.prescriptions}) == 1


def test_what_was_chosen_stays_on_every_day():
    controls: dict[str, Any] = {"tempo": 70, "key": "D", "instruments": ["harp", "piano"]}
    found = course.plan("one_week", "anxiety", SHORT, **controls)
    for asked in found.prescriptions:
        assert (asked.key, asked.instruments) == ("D", ("harp", "piano"))
        assert asked.tempo == found.prescriptions[0].tempo
    assert set(found.moves) == {"energy"}
    liked = course.plan("one_week", "anxiety", SHORT, listener=person(likes=("cello",)))
    assert {(asked.instruments or ("",))[0] for asked in liked.prescriptions} == {"cello"}


def test_a_move_ends_where_it_would_no_longer_be_legal():
    found = course.plan("one_week", "anxiety", SHORT, listener=person(heart_rate=60))
    assert found.moves["tempo"] == -0.75
    low = course.plan("one_week", "sleep", SHORT, listener=person(heart_rate=50))
    tight = [asked.tempo_curve for asked in low.prescriptions]
    assert all(level >= 40 for curve in tight for _, level in curve.points)


def test_every_day_passes_the_screen():
    who = person("mania", dislikes=("harp",), safe_level_db_spl=50, heart_rate=90)
    with pytest.raises(ScreenError, match="needs a clinician's override"):
        course.plan("one_week", "anxiety", SHORT, listener=who)
    found = course.plan("one_week", "anxiety", SHORT, listener=who, override="Dr B: present")
    for day in found.days:
        assert "harp" not in (day.prescription.instruments or ())
        assert day.prescription.playback_db_spl == 50
        assert day.listening is not None
        assert day.listening.prescription == day.prescription
        assert day.listening.override is not None
        assert day.listening.record() == {
            "id": "P07", "override": True
        }  # fmt: skip
    listening = found.days[-1].listening
    assert listening is not None
    last = {change.control: change for change in listening.changes}
    assert "day 7 of the course" in last["tempo"].reason
    assert "Only with a clinician present." in found.warnings


@pytest.mark.parametrize("answer", ["trauma_triggers", "grief_songs"])
def test_a_mode_that_is_left_open_stays_open_on_every_day(answer):
    found = course.plan("two_weeks", "mood_lift", SHORT, listener=person(answer))
    assert [day.prescription.mode for day in found.days] == [None] * 14
    assert {plan(day.prescription).mode for day in found.days} == {None}


def test_the_label_is_a_file_name_with_the_pseudonym_only():
    found = course.plan("one_week", "grief", SHORT, listener=person())
    assert found.label.startswith("one_week-grief-P07-")
    assert found.label == course.plan("one_week", "grief", SHORT, listener=person()).label
    assert found.label != course.plan("one_week", "grief", SHORT, listener=person(), seed=9).label


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"shape": "a_year"}, "course 'a_year'; legal are one_week, two_weeks, four_weeks"),
        ({"goal": "joy"}, "goal 'joy'; legal are anxiety"),
        ({"override": "Dr B: present"}, "override and step_percent need a listener"),
    ],
)
def test_what_is_illegal_is_refused(values, said):
    given: dict[str, Any] = {"shape": "one_week", "goal": "grief", "duration_s": SHORT}
    with pytest.raises(ValueError, match=said):
        course.plan(**given | values)
