"""Tempo that moves unnoticed, loudness that breathes, build and release: on plans and on sound."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from sonicrx_ml import arc, entrainment
from sonicrx_ml.acoustics import momentary_loudness
from sonicrx_ml.audio import Sound
from sonicrx_ml.breathing import Breath, half_cosines
from sonicrx_ml.case import Case
from sonicrx_ml.conformance import judge
from sonicrx_ml.curve import Curve, knots
from sonicrx_ml.entrainment import TempoChange, laid_tempo, tempo_change
from sonicrx_ml.expression import perform
from sonicrx_ml.goals import library, prescribe
from sonicrx_ml.mastering import breathe, master
from sonicrx_ml.notes import Notes, write_midi
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.pulse import breathing, swell_of

SUITE = Path(__file__).parent.parent / "configs" / "suite" / "core.yaml"
RATE = 8_000
NO_TIMES, NO_NUMBERS = np.zeros(0), np.zeros(0, np.int64)
NONE = Notes(NO_TIMES, NO_TIMES, NO_NUMBERS, NO_NUMBERS, NO_NUMBERS)


def asking(**controls) -> Prescription:
    return Prescription.from_dict({"duration_s": 120} | controls)


def change_of(planned: BarPlan) -> TempoChange:
    felt = planned.bars.meters[0].felt_beat
    beats = np.arange(0.0, planned.end_quarters + 1e-6, felt)
    return tempo_change(planned.tempo.seconds(beats))


def played(planned: BarPlan) -> Notes:
    """A note a quarter, middle C, performed."""
    onset = np.arange(0.0, planned.bars.edges[-1])
    column = np.full(len(onset), 60)
    meters = planned.bars.meters[:1]
    notes = Notes(onset, np.full(len(onset), 0.9), column, column, 0 * column, meters)
    return perform(notes, planned)


# ---------------------------------------------------------------- how a tempo changes


def test_changes_by_hand():
    """A step is a change between held tempi; all others are a drift."""
    step = np.cumsum(np.concatenate([[0.0], np.full(12, 1.0), np.full(12, 1 / 1.02)]))
    assert tempo_change(step).step == pytest.approx(2.0)
    assert (tempo_change(step).drift, tempo_change(step).place) == (0.0, "just noticeable")
    glide = np.cumsum(0.998 ** np.arange(30))
    assert tempo_change(glide).drift == pytest.approx(100 * (1 / 0.998 - 1))
    assert tempo_change(glide).step == 0.0
    stairs = np.cumsum(np.repeat(0.98 ** np.arange(8), 4))  # held for 4 beats only
    assert (tempo_change(stairs).step, tempo_change(stairs).place) == (0.0, "noticed")
    assert tempo_change(np.arange(9.0)).place == "steady"
    assert TempoChange(1.4, 0.15).place == "unnoticed"
    assert TempoChange(3.1, 0.0).place == "noticed"
    assert TempoChange(0.0, 0.25).place == "just noticeable"


@pytest.mark.parametrize("strategy", ["iso", "direct"])
def test_a_tempo_that_turns_back_has_no_strategy(strategy):
    """A strategy has a start and a target only: the valley between them would be lost."""
    valley = [[0, 80], [0.5, 60], [1, 76]]
    with pytest.raises(ValueError, match=rf"strategy '{strategy}' goes straight .* turns back"):
        asking(duration_s=300, tempo=valley, strategy=strategy)
    assert asking(duration_s=300, tempo=valley).tempo_curve(0.5) == 60


def test_the_usual_iso_shape_is_that_of_the_goals():
    assert entrainment.SHAPES[0] == (library().iso.matched, library().iso.glide)


@settings(max_examples=30, deadline=None)
@given(st.floats(45, 150), st.floats(0.7, 1.4), st.floats(60, 1800), st.sampled_from([2, 3, 4]))
def test_iso_goes_from_start_to_target_without_leaving_them(start, ratio, seconds, beats):
    target = start * ratio
    curve = laid_tempo(Curve.of([start, target]), "iso", seconds, beats)
    bpm = curve(np.linspace(0, 1, 2001))
    assert (bpm[0], bpm[-1]) == pytest.approx((start, target))
    assert (np.diff(bpm) * np.sign(target - start) >= -1e-9).all()
    assert curve(0.149) == pytest.approx(start) or curve(0.9) == pytest.approx(target)
    assert laid_tempo(curve, "iso", seconds, beats)(0.5) == pytest.approx(float(curve(0.5)))


@pytest.mark.parametrize("meter", ["4/4", "3/4", "6/8"])
def test_a_long_track_glides_unnoticed(meter):
    laid = plan(asking(duration_s=600, tempo=[84, 60], meter=meter, strategy="iso"))
    found = change_of(laid)
    assert found.step == 0.0
    assert 0.03 < found.drift <= 0.15
    assert found.place == "unnoticed"
    assert (laid.bpm[0], laid.bpm[-1]) == pytest.approx((84, 60), abs=0.01)


@pytest.mark.parametrize(("start", "target"), [(84, 60), (60, 84)])
def test_a_shorter_one_steps_where_sections_join(start, target):
    """Too fast to glide unnoticed, 300 s hold twelve steps under 3 %, at every fourth bar line."""
    laid = plan(asking(duration_s=300, tempo=[start, target], strategy="iso", meter="2/4"))
    found = change_of(laid)
    assert found.drift == 0.0 or found.drift <= 0.15
    assert found.step <= 3.0
    joins = np.flatnonzero(np.abs(np.diff(laid.bpm)) > 0.1) + 1
    if found.step:
        assert (joins % 4 == 0).all()
    assert (laid.bpm[0], laid.bpm[-1]) == pytest.approx((start, target), abs=0.01)


def test_steps_are_held_tempi_of_whole_sections():
    """Three equal ratios from 72 to 66, and too far a way for 60 s."""
    found = plan(asking(duration_s=60, tempo=[72, 66], strategy="iso"))
    assert change_of(found).step == pytest.approx(100 * (1 - (66 / 72) ** (1 / 3)), abs=0.01)
    assert change_of(found).drift < 0.001
    assert (np.flatnonzero(np.abs(np.diff(found.bpm)) > 0.1) % 4 == 3).all()
    far = plan(asking(duration_s=60, tempo=[84, 60], strategy="iso"))
    assert (change_of(far).step, change_of(far).place) == (0.0, "noticed")


def test_direct_is_at_the_target_from_the_start():
    laid = plan(prescribe("anxiety", 90, strategy="direct"))
    assert laid.bpm == pytest.approx(np.full(len(laid), 60.0))
    assert laid.targets["density"] * laid.bpm / 60 == pytest.approx(np.full(len(laid), 1.2))
    assert change_of(laid).place == "steady"


def test_the_judge_tells_a_glide_that_is_too_fast():
    for seconds, verdict in ((60, "fail"), (600, "pass")):
        asked = asking(duration_s=seconds, tempo=[84, 60], strategy="iso")
        report = judge(asked, write_midi(played(plan(asked))))
        drift = report.row("tempo drift")
        assert (drift.asked, drift.verdict) == (0.15, verdict)
        assert report.row("tempo step").verdict == "pass"
        assert report.row("tempo change").realised == ("noticed", "unnoticed")[verdict == "pass"]
        assert report.row("tempo").verdict == "pass"
    free = asking(tempo=[84, 60])
    assert judge(free, write_midi(played(plan(free)))).row("tempo drift").verdict == "not asked"


# ---------------------------------------------------------------- breathing


@pytest.mark.parametrize(
    ("meter", "tempo", "rate", "found"),
    [
        ("4/4", None, 6, 72),  # 4 beats x 3 bars x 6
        ("4/4", None, 5.5, 66),
        ("4/4", None, 5, 80),  # 60 or 80: 80 is nearer to 72 by ratio
        ("4/4", 70, 6, 72),
        ("4/4", 50, 6, 48),
        ("4/4", 60, 6, 60),  # 48 and 72 are other tempi
        ("3/4", 84, 6, 90),
        ("6/8", None, 6, 72),  # 2 felt beats x 6 bars x 6
    ],
)
def test_tempo_fits_whole_bars_in_a_breath_where_that_is_near(meter, tempo, rate, found):
    asked = {"meter": meter, "breaths_per_min": rate} | ({"tempo": tempo} if tempo else {})
    assert plan(asking(**asked)).bpm == pytest.approx(found)


def test_an_open_tempo_follows_a_gliding_rate():
    laid = plan(asking(breaths_per_min=[12, 6]))
    assert laid.breath is not None
    assert laid.breath.count(laid.seconds[:-1]) * 2 == pytest.approx(np.arange(len(laid)), abs=1e-3)


def test_families_enter_at_the_beginning_of_breaths():
    laid = plan(asking(breaths_per_min=6, instruments=["piano", "strings", "harp"]))
    entries = laid.playing.argmax(axis=0)
    assert entries.tolist() == [0, 3, 6]


def test_breaths_by_hand():
    breath = Breath(Curve.of([12, 6]), 100.0, inhale=0.25, depth_db=4.0)
    assert (breath.total, breath.mean) == (15.0, 9.0)
    assert breath.count([0.0, 50.0, 100.0, 120.0]) == pytest.approx([0, 8.75, 15, 15])
    assert half_cosines([0, 0.25, 0.625, 1], 0.25) == pytest.approx([-0.5, 0.5, 0, -0.5])


@pytest.mark.parametrize(
    ("controls", "message"),
    [
        ({"breaths_per_min": 2}, "breaths_per_min 2 at fraction 0; legal are 3 to 20"),
        ({"breaths_per_min": 3, "duration_s": 20}, "1.00 breaths in 20 s of music; legal is"),
        ({"breaths_per_min": 15, "breath_depth_db": 12}, "may startle; legal is a depth of up to"),
        ({"strategy": "fast"}, "strategy 'fast'; legal are iso, direct"),
        ({"arc": "sonata"}, "arc 'sonata'; legal are build_release"),
    ],
)
def test_what_cannot_be_breathed_is_refused(controls, message):
    with pytest.raises(ValueError, match=message):
        asking(**controls)


def test_velocities_swell_with_the_breath():
    laid = plan(asking(breaths_per_min=6, breath_depth_db=8, tempo=72))
    notes = played(laid)
    assert laid.breath is not None
    level = 40 * np.log10(notes.velocity / 64)
    swell = laid.breath.level(laid.tempo.seconds(notes.onset))
    assert np.corrcoef(level, swell)[0, 1] > 0.97
    assert np.polyfit(swell, level, 1)[0] == pytest.approx(1.0, abs=0.05)


def noise(seconds, loud_db):
    """Noise whose level in dB is a function of the second."""
    t = np.arange(round(seconds * RATE)) / RATE
    source = np.random.default_rng(1).standard_normal(len(t))
    return np.tile(0.02 * source * 10 ** (loud_db(t) / 20), (2, 1))


def heard_in(samples, breath):
    level = momentary_loudness(samples[:, : round(breath.seconds * RATE)], RATE)
    return swell_of(level.values, breath.count(level.times))


@pytest.mark.parametrize("rate", [[12, 6], 6, 15, [5, 8]])
@pytest.mark.parametrize(("inhale", "depth"), [(0.4, 4.0), (0.6, 2.0)])
def test_a_known_swell_gives_back_its_rate_depth_and_shape(rate, inhale, depth):
    breath = Breath(Curve.of(rate), 80.0, inhale, depth)
    found = heard_in(noise(80, breath.level), breath)
    assert found.ratio == pytest.approx(1.0, abs=0.02)
    assert found.depth_db == pytest.approx(depth, abs=0.4)
    assert found.inhale == pytest.approx(inhale, abs=0.05)


@pytest.mark.parametrize("wrong", [0.75, 1.3])
def test_another_rate_than_the_asked_is_told(wrong):
    made = Breath(Curve.of([12 * wrong, 6 * wrong]), 80.0, depth_db=4.0)
    asked = replace(made, rate=Curve.of([12, 6]))
    assert heard_in(noise(80, made.level), asked).ratio == pytest.approx(wrong, rel=0.02)


@pytest.mark.parametrize("own_db", [0.0, 3.0, -9.0])
def test_mastering_adds_what_is_missing_of_the_swell(own_db):
    """However much of it the music has by itself, with or against the breath."""
    breath = Breath(Curve.of([10, 6]), 80.0, depth_db=6.0)
    own = replace(breath, depth_db=abs(own_db) or 1.0)
    sign = np.sign(own_db)
    made, span = breathe(noise(80, lambda t: sign * own.level(t)), RATE, breath)
    found = heard_in(made, breath)
    assert found.depth_db == pytest.approx(6.0, abs=0.3)
    assert found.inhale == pytest.approx(0.4, abs=0.03)
    assert span == pytest.approx(6.0 - own_db, abs=0.6)


@pytest.mark.parametrize("other", [0.7, 1.3])
def test_what_else_is_about_as_fast_as_a_breath_gives_way(other):
    """Six breaths a minute for a minute, over music that swells more, and slower or faster."""
    breath = Breath(Curve.of(6), 60.0, depth_db=4.0)
    own = Breath(Curve.of(6 * other), 60.0, depth_db=8.0)
    samples = noise(60, own.level)
    assert heard_in(samples, breath).ratio == pytest.approx(other, rel=0.05)
    made, _ = breathe(samples, RATE, breath)
    found = heard_in(made, breath)
    assert found.ratio == pytest.approx(1.0, abs=0.01)
    assert found.depth_db == pytest.approx(4.0, abs=0.3)
    assert found.inhale == pytest.approx(0.4, abs=0.03)
    assert found.share > 0.6


def test_a_breathing_master_has_the_asked_loudness_and_a_blind_search_finds_the_breath():
    breath = Breath(Curve.of(12), 24.0)
    sound = Sound(noise(26, np.zeros_like).astype(np.float32), RATE, "engine", "font", "0" * 64)
    made, record = master(sound, breath=breath, target_lufs=-26.0, fade_out_s=2.0)
    assert record.loudness_lufs == pytest.approx(-26.0, abs=0.05)
    assert record.breathed_db == pytest.approx(5.0, abs=0.5)
    blind = breathing(made.samples[:, : 24 * RATE], RATE, low_hz=0.1)
    assert 60 * blind.rate_hz == pytest.approx(12.0, rel=0.05)
    assert blind.depth_db == pytest.approx(5.0, abs=1.0)


def test_the_judge_hears_the_breath_and_its_absence():
    asked = asking(duration_s=24, breaths_per_min=[16, 12], breath_depth_db=4, inhale_share=0.5)
    breath = asked.breath
    assert breath is not None
    report = judge(asked, None, (noise(24, breath.level), RATE))
    rows = [report.row(name, "sound") for name in ("swell rate", "swell depth", "inhale share")]
    assert [(row.asked, row.verdict) for row in rows] == [(14, "pass"), (4, "pass"), (0.5, "pass")]
    still = Case(asked, plan(asked), NONE, (noise(24, np.zeros_like), RATE)).swell
    assert still is not None
    assert still.depth_db < 2.0
    free = asking(duration_s=24)
    assert Case(free, plan(free), NONE, (noise(24, np.zeros_like), RATE)).swell is None


# ---------------------------------------------------------------- arcs


def test_build_and_release_rise_to_the_peak_and_rest():
    flat = {"duration_s": 180, "tempo": 80, "density": 2.0, "register": 60, "energy": 0.3}
    flat["articulation"] = 0.8
    before, laid = plan(asking(**flat)), plan(asking(**flat, arc="build_release", arc_peak=0.6))
    peak = int(0.6 * len(laid))
    for name, gain in (("density", 2.0 * arc.DENSER / 80 * 60), ("register", 60 + arc.HIGHER)):
        target = laid.targets[name]
        assert abs(int(target.argmax()) - peak) <= 1
        assert target.max() == pytest.approx(gain, rel=0.03)
        assert (np.diff(target[: peak - 1]) > 0).all()
        assert target[-4:] == pytest.approx(before.targets[name][-4:])
    louder = laid.loudness_db - before.loudness_db
    assert louder.max() == pytest.approx(arc.LOUDER, abs=0.5)
    assert abs(int(louder.argmax()) - peak) <= 1
    freer = np.flatnonzero(laid.targets["chromaticism"] > 0.03)
    assert peak - 5 <= freer.min() <= freer.max() <= peak


def test_open_controls_are_filled_in_by_the_arc_and_judged():
    asked = asking(arc="build_release", tempo=72)
    laid = plan(asked)
    for name in ("energy", "register", "chromaticism", "density"):
        assert np.isfinite(laid.targets[name]).all()
    report = judge(asked, write_midi(played(laid)))
    assert {"energy", "register", "chromaticism"} <= set(report.asked)


def test_loudness_of_performed_notes_follows_the_arcs():
    """U-shape (pain), rising (mood lift), build and release: the notes' energy moves along."""
    arcs = {
        "pain": prescribe("pain", 120),
        "mood_lift": prescribe("mood_lift", 120),
        "arc": asking(energy=0.3, tempo=80, arc="build_release"),
    }
    for name, asked in arcs.items():
        laid = plan(asked)
        energy = judge(asked, write_midi(played(laid))).curve("energy")
        assert energy is not None
        assert energy.rho is not None
        assert energy.rho > 0.7, name
        third = len(laid) // 3
        start, middle, end = (
            laid.targets["tempo"][part].mean()
            for part in (slice(third), slice(third, 2 * third), slice(2 * third, None))
        )
        if name == "pain":
            assert middle < min(start, end)
        if name == "mood_lift":
            assert start < middle < end


# ---------------------------------------------------------------- what is not asked does not move


def test_prescriptions_without_the_new_controls_are_laid_as_they_are():
    suite = OmegaConf.to_container(OmegaConf.load(SUITE))
    assert isinstance(suite, dict)
    rows = suite["prescriptions"]
    digest = hashlib.sha256()
    for row in rows:
        asked = Prescription.from_dict(row)
        assert asked.laid() is asked
        laid = plan(asked)
        parts = [laid.tempo.start, laid.tempo.bpm, laid.seconds, laid.playing, laid.loudness_db]
        for part in (*parts, *laid.targets.values()):
            digest.update(np.round(part.astype(float), 6).tobytes())
    assert digest.hexdigest()[:16] == "dba1bab61362ee9f"


def test_a_laid_prescription_is_laid_once():
    asked = asking(tempo=[84, 60], strategy="iso", breaths_per_min=6, arc="build_release")
    laid = asked.laid()
    assert laid.laid() is laid
    assert (laid.strategy, laid.breaths_per_min, laid.arc) == (None, None, None)
    assert Prescription.from_json(asked.to_json()) == asked


def test_knots_are_the_bends_of_all_curves():
    one, other = Curve.of([[0.3, 1], [0.6, 2]]), Curve.of([[0.3, 0], [0.5, 1]])
    assert knots(one, other).tolist() == [0.0, 0.3, 0.5, 0.6, 1.0]
