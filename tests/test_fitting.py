"""From a goal to a person: what a listener changes, what never sounds, who may pass the screen."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import asking, screening
from sonicrx_ml.curve import Curve
from sonicrx_ml.fitting import label, prescribe_for, refuse_given, screened
from sonicrx_ml.goals import goal_names, library, prescribe
from sonicrx_ml.listener import Listener
from sonicrx_ml.motifs import composed
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import OPEN_INSTRUMENTS
from sonicrx_ml.qualities import SHARPNESS_CAP
from sonicrx_ml.screening import Override, ScreenError, items

CLEAR = dict.fromkeys(items(), False)
MOTIF = composed(7)


def person(*yes, **known) -> Listener:
    """A listener who answered yes to these questions, and no to the others."""
    return Listener(id="P07", screening=CLEAR | dict.fromkeys(yes, True), **known)


def changed(found, control):
    return [change for change in found.changes if change.control == control]


# ---------------------------------------------------------------- pace


@pytest.mark.parametrize("goal", goal_names())
def test_nothing_known_changes_nothing(goal):
    found = prescribe_for(person(), goal, 300)
    assert found.prescription == prescribe(goal, 300)
    assert found.changes == ()


@pytest.mark.parametrize(("rate", "start"), [(78, 78), (100, 100), (60, 60), (52, 60), (130, 100)])
def test_anxiety_starts_at_the_resting_heart_rate(rate, start):
    found = prescribe_for(person(heart_rate=rate), "anxiety")
    tempo = found.prescription.tempo
    assert tempo is not None
    assert tempo([0, 0.18, 0.455, 0.73, 1]) == pytest.approx(
        [start, start, (start + 60) / 2, 60, 60]
    )
    (change,) = found.changes
    assert (change.control, change.strength) == ("tempo", "E")
    assert change.after == tempo
    assert ("held at" in change.reason) == (start != rate)


def test_a_tempo_that_was_asked_for_stays():
    found = prescribe_for(person(heart_rate=78), "anxiety", tempo=[90, 60])
    assert found.prescription.tempo == Curve.of([90, 60])
    assert found.changes == ()


def test_pain_keeps_its_shape_at_the_spontaneous_tempo():
    found = prescribe_for(person(spontaneous_tempo=100), "pain")
    assert found.prescription.tempo == Curve(((0.0, 100.0), (0.5, 75.0), (1.0, 95.0)))


@pytest.mark.parametrize("cadence", [40, 72, 96, 130])
def test_motor_has_a_beat_for_each_step_and_as_many_notes_a_beat(cadence):
    preset = plan(prescribe("motor", 120))
    found = prescribe_for(person(cadence=cadence), "motor", 120)
    laid = plan(found.prescription)
    assert laid.bpm == pytest.approx(np.full(len(laid), cadence))
    assert laid.targets["density"] == pytest.approx(preset.targets["density"][0])
    assert laid.loudness_db == pytest.approx(preset.loudness_db[0], abs=1e-3)
    assert changed(found, "tempo")[0].strength == "A"


@pytest.mark.parametrize("cadence", [40, 190])
@pytest.mark.parametrize("step", [None, 10])
def test_every_legal_cadence_makes_a_plan(cadence, step):
    found = prescribe_for(person(cadence=cadence), "motor", 120, step_percent=step)
    assert np.isfinite(plan(found.prescription).targets["energy"]).all()


def test_the_cadence_is_raised_after_a_third():
    asked = prescribe_for(person(cadence=90), "motor", 300, step_percent=10).prescription
    assert asked.tempo is not None
    assert asked.tempo([0, 0.333, 0.335, 1]) == pytest.approx([90, 90, 99, 99])
    assert asked.density is not None
    assert asked.density([0, 1]) == pytest.approx([3.3 * 0.9, 3.3 * 0.99])


@pytest.mark.parametrize(
    ("goal", "known", "given", "said"),
    [
        ("motor", {"cadence": 90}, {"step_percent": 4}, "step_percent 4; legal are 5 to 10 %"),
        ("motor", {"cadence": 90}, {"step_percent": 11}, "step_percent 11; legal are 5 to 10 %"),
        ("motor", {}, {"step_percent": 5}, "step_percent 5 has no cadence to raise"),
        ("sleep", {"cadence": 90}, {"step_percent": 5}, "step_percent 5 has no cadence to raise"),
        ("motor", {"cadence": 90}, {"step_percent": 5, "tempo": 90}, "without a tempo of its own"),
    ],
)
def test_a_step_needs_a_cadence(goal, known, given, said):
    with pytest.raises(ValueError, match=said):
        prescribe_for(person(**known), goal, 120, **given)


# ---------------------------------------------------------------- instruments, level


@pytest.mark.parametrize(("rate", "paced"), [(16, 12), (8, 6), (4, 3), (40, 20)])
def test_breathing_is_paced_at_three_quarters_of_the_own_rate(rate, paced):
    """Leslie et al. 2019, within what can be breathed along with."""
    found = prescribe_for(person(breathing_rate=rate), "anxiety", 300, breaths_per_min="own")
    assert found.prescription.breaths_per_min == Curve.of(paced)
    (change,) = changed(found, "breaths_per_min")
    assert "Leslie 2019" in change.citations
    assert f"{rate}" not in str(change.general)


def test_an_own_breathing_that_is_not_known_is_refused():
    said = (
        "breaths_per_min 'own': no breathing_rate is known of listener P07; legal is a rate, 3 to"
    )
    with pytest.raises(ValueError, match=said):
        prescribe_for(person(), "anxiety", breaths_per_min="own")


def test_a_prescription_too_may_breathe_as_its_listener_does():
    asked = prescribe("anxiety", 300, breaths_per_min=5)
    found = asking.for_listener(person(breathing_rate=16), {"breaths_per_min": "own"}, asked)
    assert found.prescription.breaths_per_min == Curve.of(12)
    (change,) = changed(found, "breaths_per_min")
    assert change.before == Curve.of(5)
    with pytest.raises(ValueError, match="no breathing_rate is known"):
        asking.for_listener(person(), {"breaths_per_min": "own"}, asked)


def test_two_listeners_share_no_file_name():
    plans = [prescribe_for(replace(person(), id=name), "grief") for name in ("P07", "P08")]
    assert plans[0].prescription == plans[1].prescription
    names = [label(plan.prescription, plan) for plan in plans]
    assert names[0] == f"P07-{plans[0].prescription.label}" != names[1]
    assert label(plans[0].prescription, None) == plans[0].prescription.label


def test_liked_instruments_lead_and_displace_their_family():
    found = prescribe_for(person(likes=("cello", "flute")), "anxiety")
    assert found.prescription.instruments == ("cello", "flute", "piano", "harp")
    given = prescribe_for(person(likes=("cello",)), "anxiety", instruments=["piano"])
    assert given.prescription.instruments == ("piano",)


def test_what_is_disliked_or_distresses_does_not_sound_even_if_asked_for():
    who = person(dislikes=("harp",), trigger_sounds=("pad",))
    found = prescribe_for(who, "anxiety")
    assert found.prescription.instruments == ("piano", "strings")
    assert [change.reason for change in changed(found, "instruments")] == [
        "harp is disliked", "warm_pad is a trigger sound",
    ]  # fmt: skip
    asked = prescribe_for(who, "anxiety", instruments=["piano", "harp"])
    assert asked.prescription.instruments == ("piano",)


def test_an_open_palette_does_not_bring_a_disliked_piano():
    with pytest.raises(ValueError, match=r"no instrument is left for listener P07; legal are cele"):
        prescribe_for(person(dislikes=("piano",)), "grief", instruments=None)
    liked = prescribe_for(person(dislikes=("piano", "strings"), likes=("harp",)), "grief")
    assert liked.prescription.instruments == ("harp",)


names = st.lists(st.sampled_from(screening.sounds()), max_size=6)


@settings(max_examples=60, deadline=None)
@given(goal=st.sampled_from(goal_names()), dislikes=names, triggers=names, likes=names)
def test_what_is_barred_never_sounds(goal, dislikes, triggers, likes):
    barred = {i for name in (*dislikes, *triggers) for i in screening.like(name)}
    liked = tuple(name for name in likes if name in PALETTE and name not in barred)
    who = person(dislikes=tuple(dislikes), trigger_sounds=tuple(triggers), likes=liked)
    preset = prescribe(goal).instruments or OPEN_INSTRUMENTS
    if not liked and set(preset) <= barred:
        with pytest.raises(ValueError, match="no instrument is left"):
            prescribe_for(who, goal, 120)
        return
    asked = prescribe_for(who, goal, 120).prescription
    playing = set(asked.instruments or OPEN_INSTRUMENTS)
    assert playing
    assert not playing & barred
    assert not set(plan(asked).programs.values()) & {PALETTE[name][0] for name in barred}


def test_no_level_is_above_what_is_safe():
    assert prescribe_for(person(), "grief").prescription.playback_db_spl == 65
    quiet = person(safe_level_db_spl=58)
    assert prescribe_for(quiet, "grief").prescription.playback_db_spl == 58
    assert prescribe_for(quiet, "grief", playback_db_spl=80).prescription.playback_db_spl == 58
    assert prescribe_for(quiet, "grief", playback_db_spl=45).prescription.playback_db_spl == 45
    child = prescribe_for(person("child"), "grief", playback_db_spl=85)
    assert child.prescription.playback_db_spl == 75  # ITU-T H.870, children
    assert any("75 dBA" in warning for warning in child.warnings)


# ---------------------------------------------------------------- the screen

CLINICIAN = (
    "musicogenic_epilepsy", "hyperacusis", "tinnitus", "misophonia", "psychosis", "mania",
    "acute_suicidality", "dementia_agitation",
)  # fmt: skip


@pytest.mark.parametrize("goal", goal_names())
@pytest.mark.parametrize("item", CLINICIAN)
def test_what_needs_a_clinician_is_refused_without_one(item, goal):
    with pytest.raises(ScreenError, match=rf"clinician's override \({item}\); legal is") as stopped:
        prescribe_for(person(item), goal, 120)
    assert stopped.value.overridable
    found = prescribe_for(person(item), goal, 120, override="Dr B: present throughout")
    assert found.override == Override("Dr B", "present throughout")
    assert items()[item].warning in found.warnings


@pytest.mark.parametrize("goal", goal_names())
def test_nobody_overrides_calming_music_at_the_wheel(goal):
    who = person("driving_or_machines")
    if goal not in ("anxiety", "stress", "sleep"):
        assert prescribe_for(who, goal).override is None
        return
    with pytest.raises(ScreenError, match="is refused: Never while driving") as stopped:
        prescribe_for(who, goal, override="Dr B: present")
    assert not stopped.value.overridable


@pytest.mark.parametrize("goal", ["motor", "sleep"])
def test_a_risk_of_falls_is_supervised(goal):
    with pytest.raises(ScreenError, match=r"override \(falls\)"):
        prescribe_for(person("falls"), goal)
    found = prescribe_for(person("falls"), goal, override="Dr B: walks beside")
    assert "Supervise: risk of falls." in found.warnings


def test_what_was_not_asked_is_not_taken_for_a_no():
    who = replace(person(), screening={k: v for k, v in CLEAR.items() if k != "mania"})
    with pytest.raises(ScreenError, match=r"\(screening not answered: mania\)"):
        prescribe_for(who, "grief")
    assert prescribe_for(who, "grief", override="Dr B: asked today").override is not None
    without_falls = replace(person(), screening={k: v for k, v in CLEAR.items() if k != "falls"})
    assert prescribe_for(without_falls, "grief").override is None


def test_sensitive_hearing_gets_low_levels_soft_timbres_and_a_cap():
    who = person("hyperacusis", likes=("glockenspiel", "cello"))
    found = prescribe_for(who, "anxiety", override="Dr B: present")
    assert found.prescription.playback_db_spl == 50
    assert found.prescription.instruments == ("cello", "piano", "harp")
    assert found.prescription.max_sharpness_acum == SHARPNESS_CAP
    assert prescribe_for(person(), "anxiety").prescription.max_sharpness_acum is None
    mine = prescribe_for(who, "anxiety", override="Dr B: present", max_sharpness_acum=1.5)
    assert mine.prescription.max_sharpness_acum == 1.5


@pytest.mark.parametrize("item", ["trauma_triggers", "grief_songs"])
def test_valence_is_not_forced_on_who_carries_a_trauma_or_a_loss(item):
    found = prescribe_for(person(item), "mood_lift")
    assert found.prescription.mode is None
    assert found.override is None
    assert any("Stop at any time." in warning for warning in found.warnings)
    assert prescribe_for(person(item), "mood_lift", mode="minor").prescription.mode == "minor"
    assert prescribe_for(person(item), "anxiety").prescription.mode == "major"


@pytest.mark.parametrize("text", ["", "yes", "Dr B:", ": fine", "Dr B: a\nb", " : "])
def test_an_override_says_who_and_why(text):
    with pytest.raises(ValueError, match="legal is 'who: why'"):
        prescribe_for(person("mania"), "grief", override=text)


# ---------------------------------------------------------------- what is told, what is kept


def test_every_change_has_its_reason_and_its_mark():
    who = person("hyperacusis", heart_rate=90, cadence=80, likes=("cello",), dislikes=("harp",))
    for goal in goal_names():
        found = prescribe_for(who, goal, override="Dr B: present")
        preset = prescribe(goal)
        assert found.changes
        for change in found.changes:
            assert len(change.reason) > 10
            assert change.strength in library().strengths
            assert set(change.citations) <= set(library().sources)
            assert change.before != change.after
            assert change.reason in found.summary()
        moved = {f.name for f in fields(preset)
                 if getattr(preset, f.name) != getattr(found.prescription, f.name)}  # fmt: skip
        assert moved == {change.control for change in found.changes}


def test_the_record_has_the_pseudonym_and_that_there_was_an_override_only():
    who = person("mania", heart_rate=91, dislikes=("harp",), anchor=MOTIF)
    found = prescribe_for(who, "anxiety", override="Dr B: present throughout")
    assert json.loads(json.dumps(found.record())) == {"id": "P07", "override": True}
    assert prescribe_for(person(), "anxiety").record() == {"id": "P07", "override": False}


def test_a_louder_master_does_not_get_round_the_cap():
    found = prescribe_for(person(safe_level_db_spl=50), "anxiety", 300, target_lufs=-14.0)
    asked = found.prescription
    assert (asked.playback_db_spl, asked.target_lufs) == (50, -23.0)
    free = prescribe_for(person(), "anxiety", 300, target_lufs=-14.0)
    assert free.prescription.target_lufs == -14.0


def test_an_override_that_nothing_asks_for_lets_nothing_pass():
    found = prescribe_for(person(), "anxiety", 300, override="Dr B: present throughout")
    assert found.override is None
    with pytest.raises(ValueError, match="legal is 'who: why'"):
        prescribe_for(person(), "anxiety", 300, override="yes")


def test_an_override_does_not_answer_what_may_refuse():
    with pytest.raises(ScreenError, match="first needs an answer to driving") as refused:
        prescribe_for(Listener(id="P07"), "sleep", 300, override="Dr B: known to me")
    assert not refused.value.overridable


# ---------------------------------------------------------------- the anchor


def test_the_listeners_anchor_returns_by_itself():
    found = prescribe_for(person(anchor=MOTIF), "anxiety", 300, anchor_at=[0.1, 0.9])
    assert found.prescription == prescribe("anxiety", 300, anchor=MOTIF, anchor_at=[0.1, 0.9])
    (change,) = changed(found, "anchor")
    assert "no direct trial" in change.reason


def test_another_anchor_or_none_may_be_asked_for():
    who, other = person(anchor=MOTIF), composed(8)
    assert prescribe_for(who, "anxiety", 300, anchor=other).prescription.anchor == other
    assert prescribe_for(who, "anxiety", 300, anchor=None).prescription.anchor is None


def test_a_name_of_an_anchor_is_not_passed_over():
    with pytest.raises(ValueError, match="anchor 'P07' of listener P07 was not looked up; legal"):
        prescribe_for(person(anchor="P07"), "anxiety", 300)


# ---------------------------------------------------------------- any prescription


def test_the_anchor_returns_in_any_prescription_that_has_none():
    who, asked, other = person(anchor=MOTIF), prescribe("anxiety", 300), composed(8)
    found = screened(who, asked, anchored=True)
    assert found.prescription == replace(asked, anchor=MOTIF)
    assert [change.control for change in found.changes] == ["anchor"]
    assert screened(who, asked).prescription.anchor is None
    own = screened(who, replace(asked, anchor=other), anchored=True)
    assert own.prescription.anchor == other


@pytest.mark.parametrize(
    ("who", "program", "said"),
    [
        ({"dislikes": ("harp",)}, 46, "harp, which is disliked"),
        ({"trigger_sounds": ("bells",)}, 9, "glockenspiel, which is a trigger sound"),
        ({"trigger_sounds": ("bells",)}, 14, "bells, which must not sound"),  # tubular bells
    ],
)
def test_given_music_with_what_must_not_sound_is_refused(who, program, said):
    with pytest.raises(ValueError, match=f"the given music plays {said} for listener P07; legal"):
        refuse_given(person(**who), "grief", [0, program])


def test_given_music_with_anything_else_is_not_refused():
    refuse_given(person(dislikes=("cello",)), "grief", [0, 41, 46, 128])


def test_any_prescription_is_held_to_the_screen():
    who = person("hyperacusis", dislikes=("harp",), heart_rate=95)
    asked = prescribe("anxiety", 300, tempo=77, playback_db_spl=70)
    with pytest.raises(ScreenError, match="needs a clinician's override"):
        screened(who, asked)
    found = screened(who, asked, override="Dr B: present")
    assert found.prescription.tempo == Curve.of(77)  # the pace is left alone
    assert found.prescription.instruments == ("piano", "strings")
    assert found.prescription.playback_db_spl == 50
    assert found.override == Override("Dr B", "present")
    again = screened(who, found.prescription, override="Dr B: present")
    assert again.prescription == found.prescription
    assert again.changes == ()


def test_a_mode_that_is_only_the_presets_is_freed():
    who, preset = person("trauma_triggers"), prescribe("mood_lift", 300)
    assert screened(who, preset).prescription.mode is None
    assert screened(who, replace(preset, mode="minor")).prescription.mode == "minor"


def test_a_prescription_without_a_known_goal_cannot_be_screened():
    with pytest.raises(ValueError, match="goal 'none'; legal are anxiety"):
        screened(person(), replace(prescribe("anxiety", 300), goal=None))
