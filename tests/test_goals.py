"""Goal presets: complete, honest about their evidence, adjustable, and playable at any length."""

from importlib import resources

import numpy as np
import pytest

from sonicrx_ml import goals
from sonicrx_ml.curve import Curve
from sonicrx_ml.emotion import energy
from sonicrx_ml.plan import plan

NAMES = ("anxiety", "stress", "sleep", "focus", "grief", "mood_lift", "motor", "pain", "bonding")
TEXT = resources.files("sonicrx_ml").joinpath("goals.toml").read_text(encoding="utf-8")

MINIMAL = """
[strengths]
C = "small study"
E = "default"
[iso]
matched = 0.18
glide = 0.55
reason = "shape"
citations = []
strength = "E"
[sources]
"Somebody 2000" = "something"
[goals.calm]
title = "Calm"
strength = "C"
citations = ["Somebody 2000"]
theory = "-"
claim = "-"
caution = "-"
[goals.calm.duration_s]
value = 600
reason = "-"
citations = []
strength = "E"
[goals.calm.tempo]
value = [80, 60]
shape = "iso"
reason = "-"
citations = ["Somebody 2000"]
strength = "C"
[goals.calm.tempo.listener]
baseline = "heart_rate"
moves = "start"
low = 65
high = 90
reason = "-"
citations = ["Somebody 2000"]
strength = "C"
"""
SIMPLE = {
    "mode": '"major"',
    "chromaticism": "0.02",
    "energy": "0.3",
    "density": "2",
    "register": "65",
    "instruments": '["piano"]',
    "articulation": "0.9",
    "final_silence_s": "0",
}
for _name, _value in SIMPLE.items():
    MINIMAL += f"""[goals.calm.{_name}]
value = {_value}
reason = "-"
citations = []
strength = "E"
"""


def test_the_nine_goals():
    assert goals.goal_names() == NAMES


@pytest.mark.parametrize(("goal", "strength"), list(zip(NAMES, "AAABXCAAX", strict=True)))
def test_strength_of_each_goal(goal: str, strength: str):
    assert goals.evidence(goal).strength == strength


@pytest.mark.parametrize(
    ("goal", "start", "end"),
    [
        ("anxiety", 84, 60),
        ("stress", 70, 60),
        ("sleep", 70, 50),
        ("mood_lift", 70, 116),
    ],
)
def test_gliding_goals_have_the_iso_shape(goal: str, start: float, end: float):
    curve = goals.prescribe(goal).tempo
    assert curve == goals.iso(start, end)
    assert curve is not None
    assert curve([0.0, 0.15, 0.455, 0.75, 1.0]) == pytest.approx(
        [start, start, (start + end) / 2, end, end]
    )


@pytest.mark.parametrize("goal", NAMES)
def test_every_parameter_has_a_reason_and_its_mark(goal: str):
    known = goals.library()
    for parameter in goals.evidence(goal).parameters:
        assert len(parameter.reason) > 3
        assert parameter.strength in known.strengths
        assert set(parameter.citations) <= set(known.sources)


@pytest.mark.parametrize("goal", NAMES)
def test_every_preset_is_a_complete_prescription(goal: str):
    """Every part that a clinician asks for is said: none is left to the composer."""
    asked = goals.prescribe(goal)
    for name in (
        "tempo", "mode", "chromaticism", "energy", "density", "register", "instruments",
        "articulation", "duration_s", "final_silence_s",
    ):  # fmt: skip
        assert getattr(asked, name) is not None, name
        assert goals.evidence(goal).parameter(name) is not None, name


def test_every_source_is_used():
    used = set(goals.library().iso.citations)
    for goal in NAMES:
        used |= set(goals.evidence(goal).citations)
        for parameter in goals.evidence(goal).parameters:
            used |= set(parameter.citations)
    assert set(goals.library().sources) - used <= {"Bernardi 2009"}


def test_motor_says_that_percussion_cannot_sound():
    tempo = goals.evidence("motor").parameter("tempo")
    assert tempo is not None
    assert "cannot sound yet" in tempo.reason
    assert tempo.strength == "E"


@pytest.mark.parametrize("goal", NAMES)
@pytest.mark.parametrize("duration_s", [None, 12, 120, 7200])
def test_every_goal_plans_at_every_length(goal: str, duration_s: float | None):
    prescription = goals.prescribe(goal, duration_s)
    assert prescription.goal == goal
    assert prescription.duration_s == duration_s or duration_s is None
    laid = plan(prescription)
    assert laid.seconds[-1] == pytest.approx(prescription.music_s)
    assert np.isfinite(laid.targets["energy"]).all()


@pytest.mark.parametrize("goal", NAMES)
def test_energy_agrees_with_pace_and_articulation(goal: str):
    """The loudness that is left over is within reach, so the asked energy is realised."""
    prescription = goals.prescribe(goal)
    assert prescription.energy is not None
    laid = plan(prescription)
    assert (np.abs(laid.loudness_db) < 9).all()
    pace = laid.targets["density"] * laid.bpm / 60
    register = np.nan_to_num(laid.targets["register"], nan=65.0)
    realised = energy(pace, laid.loudness_db, laid.targets["articulation"], register)
    asked = prescription.energy.means(laid.seconds / prescription.music_s)
    assert realised == pytest.approx(asked, abs=1e-9)


@pytest.mark.parametrize("goal", NAMES)
def test_glides_go_unnoticed_at_the_preset_length(goal: str):
    """At most 0.15 % a beat (Madison & Merker: drift is noticed from 0.2 to 0.3 %)."""
    steps = np.abs(np.diff(np.log(plan(goals.prescribe(goal)).tempo.bpm)))
    assert steps.max() <= 0.0015


def test_sleep_never_rises_at_the_end():
    laid = plan(goals.prescribe("sleep"))
    assert (np.diff(laid.bpm) <= 1e-9).all()
    assert (np.diff(laid.loudness_db) <= 1e-9).all()
    assert laid.loudness_db[0] - laid.loudness_db[-1] <= 5


def test_overrides_replace_and_open():
    found = goals.prescribe("anxiety", 300, tempo=[90, 60], key="D", instruments=None)
    assert found.tempo == Curve.of([90, 60])
    assert found.key == "D"
    assert found.instruments is None
    assert found.mode == "major"


def test_energy_and_what_it_is_made_of_do_not_contradict():
    lively = goals.prescribe("anxiety", 120, energy=0.8)
    assert lively.density is None
    assert lively.articulation is None
    assert plan(lively).derived >= {"density", "articulation"}
    dense = goals.prescribe("anxiety", 120, density=4.0)
    assert dense.energy is None
    assert dense.articulation == Curve.of(0.95)
    both = goals.prescribe("anxiety", 120, density=4.0, energy=0.8)
    assert both.energy == Curve.of(0.8)
    assert both.density == Curve.of(4.0)


def test_final_silence_keeps_its_share_of_a_shorter_track():
    assert goals.prescribe("stress").final_silence_s == 90
    assert goals.prescribe("stress", 300).final_silence_s == pytest.approx(18)
    assert goals.prescribe("stress", 3000).final_silence_s == 90
    assert goals.prescribe("stress", 300, final_silence_s=60).final_silence_s == 60


def test_illegal_requests_list_what_is_legal():
    with pytest.raises(ValueError, match=r"goal 'joy'; legal are anxiety, stress, .*bonding"):
        goals.prescribe("joy")
    with pytest.raises(ValueError, match=r"unknown control 'volume'; legal are duration_s, goal"):
        goals.prescribe("sleep", volume=3)
    with pytest.raises(ValueError, match=r"duration_s 5; legal are 10 to 7200 s"):
        goals.prescribe("sleep", 5)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[goals.calm.tempo]", "[goals.calm.tempi]", "goal calm: unknown control 'tempi'"),
        ("[80, 60]", "[80, 20]", "goal calm: tempo 20 .*legal are 40 to 210"),
        ('"iso"', '"jump"', "goal calm: tempo has shape 'jump'; legal is iso"),
        ('["Somebody 2000"]', '["Nobody 1999"]', "calm: cites 'Nobody 1999'; legal are Somebody"),
        (
            'high = 90\nreason = "-"\ncitations = ["Somebody 2000"]',
            'high = 90\nreason = "-"\ncitations = []',
            "calm tempo listener: strength C needs",
        ),
        ('strength = "C"\n', 'strength = "D"\n', "calm: strength 'D'; legal are C, E"),
        ('["Somebody 2000"]', "[]", "calm: strength C needs a citation"),
        ("[goals.calm.register]", "[goals.calm.polyphony]", "goal calm: polyphony 65 .*1 to 8"),
        ("[goals.calm.register]", "[goals.calm.seed]", "goal calm: says nothing of register"),
        ('"heart_rate"', '"age"', "calm: listener baseline 'age'; legal are heart_rate, breathing"),
        ('"start"', '"middle"', "calm: listener moves 'middle'; legal are start, all"),
        ("glide = 0.55", "glide = 0.95", "iso matched 0.18, glide 0.95"),
    ],
)
def test_a_broken_preset_is_refused_at_load(old: str, new: str, message: str):
    assert goals.parse(MINIMAL).goals["calm"].parameter("tempo") is not None
    assert old in MINIMAL
    with pytest.raises(ValueError, match=message):
        goals.parse(MINIMAL.replace(old, new))
