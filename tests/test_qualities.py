"""What every track is told about itself: safety, emotion, sensations, and what is not known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sonicrx_ml import emotion, heard, keys
from sonicrx_ml.acoustics import integrated_loudness
from sonicrx_ml.conformance import judge
from sonicrx_ml.notes import Notes, TempoMap, write_midi
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.qualities import QUALITIES
from sonicrx_ml.report import summary, write_html
from sonicrx_ml.verdicts import Report, Where

RATE, SECONDS, BPM = 16_000, 24, 75.0
LEVELLED = {"sone", "phon", "acum", "asper", "vacil", "dBA", "h/week"}
CADENCE = ((60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67), (69, 72, 76), (67, 71, 74))
ASKED = Prescription.from_dict({"duration_s": SECONDS, "tempo": BPM, "key": "C", "mode": "major"})


def chords(transposed: int = 0, velocity: int = 64) -> Notes:
    """A chord on each of 30 beats, in C major unless transposed; the last one is home."""
    rows = [(beat, pitch) for beat in range(29) for pitch in CADENCE[beat % 6]]
    rows += [(29, pitch) for pitch in CADENCE[0]]
    onset, pitch = np.array(rows).T
    ones = np.ones(len(rows), dtype=int)
    tempo = TempoMap(np.zeros(1), np.full(1, BPM))
    return Notes(
        onset * 1.0, ones * 1.0, pitch + transposed, velocity * ones, 0 * ones, tempo=tempo
    )


def played(notes: Notes, bpm: float = BPM, lufs: float = -23.0) -> np.ndarray:
    """(2, n): every note as a decaying tone of four harmonics."""
    sound = np.zeros(SECONDS * RATE)
    t = np.arange(RATE) / RATE
    for onset, pitch in zip(notes.onset * 60 / bpm, notes.pitch, strict=True):
        hz, first = 440 * 2 ** ((pitch - 69) / 12), round(onset * RATE)
        tone = np.exp(-t / 0.2) * sum(np.sin(2 * np.pi * n * hz * t) / n for n in range(1, 5))
        sound[first : first + RATE] += tone[: max(0, len(sound) - first)]
    stereo = np.stack([sound, sound])
    return (stereo * 10 ** ((lufs - integrated_loudness(stereo, RATE)) / 20)).astype(np.float32)


def judged(sound: np.ndarray, asked: Prescription = ASKED, **options: bool) -> Report:
    return judge(asked, write_midi(chords()), (sound, RATE), **options)


def figure(report: Report, name: str, where: Where = "sound") -> float:
    realised = report.row(name, where).realised
    assert isinstance(realised, float)
    return realised


@pytest.fixture(scope="module")
def sound() -> np.ndarray:
    return played(chords())


@pytest.fixture(scope="module")
def full(sound: np.ndarray) -> Report:
    return judged(sound, psychoacoustics=True)


# ---------------------------------------------------------------- what is measured


def test_psychoacoustics_are_measured_on_request_and_change_no_verdict(sound, full):
    everyday = judged(sound)
    assert [v for v in full.verdicts if v in everyday.verdicts] == list(everyday.verdicts)
    more = {(v.attribute, v.where) for v in full.verdicts if v not in everyday.verdicts}
    assert more == {(row.attribute, row.where) for row in QUALITIES if row.on_request}
    assert full.score == everyday.score == 1.0
    assert full.asked == everyday.asked


def test_every_figure_of_a_sounding_track_is_there(full):
    untold = {v.attribute for v in full.verdicts if v.section != "asked" and v.realised is None}
    assert untold == {"breathing", "breathing depth"}  # 24 s hold no two breaths
    assert "NaN" not in full.to_json()
    assert Report.from_json(full.to_json()) == full


def test_figures_that_hang_on_the_level_say_it(full, tmp_path):
    for verdict in full.verdicts:
        assert (verdict.unit in LEVELLED) == (verdict.playback_db_spl == 65.0), verdict
    assert "acum at 65 dB SPL" in summary(full)
    write_html(full, ASKED, chords(), None, "", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    for unit in LEVELLED:
        assert f" {unit} at 65 dB SPL</td>" in page
    assert "sone at 65 dB SPL</text>" in page  # the figure over time
    assert "<h2>Safety</h2>" in page
    assert "<h2>What it sounds like</h2>" in page


def test_a_louder_playback_is_louder_rougher_and_sooner_too_much(sound, full):
    loud = judged(sound, replace(ASKED, playback_db_spl=85.0), psychoacoustics=True)
    for name in ("N5", "mean loudness", "loudness level", "roughness", "level at the ear"):
        assert figure(loud, name) > figure(full, name)
    level = figure(loud, "level at the ear")
    assert level == pytest.approx(figure(full, "level at the ear") + 20, abs=1e-3)
    dose = loud.row("hearing dose", "sound")
    hours = figure(loud, "hearing dose")
    assert hours == pytest.approx(40 * 2 ** ((80 - level) / 3), rel=1e-4)
    assert (dose.verdict, dose.limit) == ("fail" if level > 80 else "pass", True)
    child = loud.row("hearing dose, children", "sound")
    assert child.realised == pytest.approx(hours / 2 ** (5 / 3), rel=1e-4)
    assert child.verdict == "info"


def test_excerpts_stand_for_long_music(sound, full, monkeypatch):
    for name, value in (("LONGEST_S", 10.0), ("PARTS", 2), ("PART_S", 6.0)):
        monkeypatch.setattr(heard, name, value)
    row = judged(sound, psychoacoustics=True).row("N5", "sound")
    assert (row.extent, full.row("N5", "sound").extent) == ("2 x 6 s", "whole")
    assert row.realised == pytest.approx(figure(full, "N5"), rel=0.1)


def test_silence_is_reported_without_nan():
    asked = replace(ASKED, duration_s=12)
    report = judged(np.zeros((2, 12 * RATE)), asked, psychoacoustics=True)
    assert report.row("N5", "sound").realised == 0.0
    assert report.row("hearing dose", "sound").realised == 168.0
    assert report.row("largest momentary loudness", "sound").realised is None
    assert "no attack in the sound" in str(report.row("attack", "sound").flag)
    assert "NaN" not in report.to_json()


def test_what_cannot_be_measured_is_said():
    melody = replace(chords(), onset=np.arange(90) / 3, duration=np.full(90, 0.2))
    row = judge(ASKED, write_midi(melody), psychoacoustics=True).row("consonance of chords")
    assert row.realised is None
    assert "no two pitches of 90 notes sound together" in str(row.flag)


# ---------------------------------------------------------------- safety


def test_a_sudden_burst_fails_the_limit_and_not_the_score(sound):
    burst = sound.copy()
    burst[:, 12 * RATE : 12 * RATE + RATE // 2] *= 6.0
    report = judged(burst, replace(ASKED, target_lufs=integrated_loudness(burst, RATE)))
    row = report.row("startle", "sound")
    assert (row.verdict, row.limit, row.section) == ("fail", True, "safety")
    assert figure(report, "startle") > 6.0
    assert report.score == 1.0
    assert judged(sound).row("startle", "sound").verdict == "pass"


# ---------------------------------------------------------------- twice


def test_notes_and_sound_that_agree_are_not_flagged(full):
    for name, value in (("key", "C"), ("mode", "major")):
        assert full.row(name, "sound").realised == full.row(name).realised == value
        assert full.row(name, "sound").verdict == "info"
    assert all(full.row(name, "sound").flag is None for name in ("key", "mode", "tempo"))


def test_a_sound_in_another_key_disagrees_with_the_notes():
    report = judged(played(chords(transposed=2)))
    row = report.row("key", "sound")
    assert (row.realised, row.flag, row.verdict) == ("D", "the notes say C", "info")
    assert report.row("key").verdict == "pass"
    assert "! key (sound): the notes say C" in summary(report).splitlines()


def test_a_sound_at_another_tempo_disagrees_with_the_notes():
    row = judged(played(chords(), bpm=BPM * 1.06)).row("tempo", "sound")
    assert (row.flag, row.verdict) == ("the notes say 75.0 BPM", "fail")


@pytest.mark.parametrize(("key", "verdict"), [("C", "pass"), ("A", "fail")])
def test_the_key_of_a_sound_alone_has_a_verdict(sound, key, verdict):
    report = judge(replace(ASKED, key=key), None, (sound, RATE))
    assert report.row("key", "sound").verdict == verdict
    assert report.row("tempo", "sound").flag is None


# ---------------------------------------------------------------- emotion


def test_predicted_emotion_is_the_model_on_the_bars():
    """In C major, as far as every eight bars say so."""
    notes = chords(velocity=90)
    report = judge(ASKED, write_midi(notes))
    major = keys.local_modes(notes, notes.bars()).mean()
    level, register = 40 * np.log10(90 / 64), notes.pitch.mean()
    expected = emotion.predict(BPM / 60, level, 1.0, register, major)
    assert major > 0.8
    for name in emotion.EMOTIONS:
        row = report.row(name)
        assert row.realised == pytest.approx(float(getattr(expected, name)), abs=0.05)
        assert (row.verdict, row.flag) == ("info", None)


def test_leaving_the_models_range_is_flagged():
    report = judge(ASKED, write_midi(chords(transposed=-24)))
    assert str(report.row("sad").flag).startswith("8 of 8 bars are beyond what the model")
    assert report.row("sad").realised is not None
