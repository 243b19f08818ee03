"""Tracks of another system: what is there is judged, what is not or cannot be read has failed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonicrx_ml import evaluation
from sonicrx_ml.notes import Notes, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.tracks import judge_folder

ASKED = {"duration_s": 12, "tempo": 75, "key": "C", "mode": "major", "instruments": ["piano"]}


def chords() -> bytes:
    """A C major chord on every beat of what is asked."""
    laid = plan(Prescription.from_dict(ASKED))
    onset = np.repeat(np.arange(15.0), 3)
    pitch = np.tile([60, 64, 67], 15)
    whole = np.ones(45)
    velocity, program = np.full(45, 64), np.zeros(45, np.int64)
    meters = laid.bars.meters[:1]
    return write_midi(Notes(onset, whole, pitch, velocity, program, meters, laid.tempo))


def ticks(seconds: float = 12.0, rate: int = 48_000, channels: int = 1) -> np.ndarray:
    """A decaying tone 75 times a minute."""
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * 440 * time) * np.exp(-6 * (time % 0.8))
    return np.tile(tone[:, None], (1, channels))


@pytest.fixture
def folder(tmp_path) -> Path:
    made = tmp_path / "made"
    made.mkdir()
    names = ("both", "broken", "missing", "notes", "six", "sound")
    (tmp_path / "asked.json").write_text(json.dumps(dict.fromkeys(names, ASKED)))
    for name in ("both", "notes"):
        (made / f"{name}.mid").write_bytes(chords())
    for name in ("both", "sound"):
        soundfile.write(made / f"{name}.wav", ticks(), 48_000)
    soundfile.write(made / "six.wav", ticks(channels=6), 48_000)
    (made / "broken.midi").write_bytes(b"MThd and no more")
    (made / "broken.flac").write_bytes(b"fLaC and no more")
    return made


def test_notes_and_sound_are_judged_where_they_are(folder):
    both, broken, missing, notes, six, sound = judge_folder(folder, folder.parent / "asked.json")
    assert [j.entry for j in (both, broken, missing, notes, six, sound)] == list(range(6))
    assert {v.where for v in both.report.verdicts} == {"notes", "sound"}
    assert {v.where for v in notes.report.verdicts} == {"notes"}
    assert {v.where for v in sound.report.verdicts} == {"sound"}
    assert notes.report.row("key").verdict == notes.report.row("tempo").verdict == "pass"
    assert sound.report.row("tempo", "sound").verdict == "pass"
    for failed, why in ((broken, "broken.flac"), (missing, "neither MIDI nor sound"),
                        (six, r"six.wav: 6 channels; legal are 1 and 2")):  # fmt: skip
        assert failed.report.score == 0.0
        assert failed.report.failure is not None
        assert why in failed.report.failure


def test_failures_count_in_the_figures_and_what_is_not_there_does_not(folder):
    judged = judge_folder(folder, folder.parent / "asked.json")
    found = evaluation.figures(judged)
    assert found["failed"].value == pytest.approx(3 / 6)
    assert found["key passes"].n == 5  # all but the one of sound alone
    assert found["key passes"].value == pytest.approx(2 / 5)
    assert found["tempo bin (TB) (sound)"].value == 1.0
    evaluation.effects(judged)
    assert set(evaluation.failures(judged)) == {"broken", "missing", "six"}


def test_a_folder_of_our_own_tracks(tmp_path):
    for name, values in (("one", ASKED), ("two", ASKED | {"seed": 2})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prescription.json").write_text(json.dumps(values))
        (tmp_path / name / "track.mid").write_bytes(chords())
    judged = judge_folder(tmp_path)
    assert [j.report.failure for j in judged] == [None, None]
    assert [j.prescription.seed for j in judged] == [0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "legal is a JSON object from names to prescriptions"),
        ('{"a": 3}', "a: a prescription is a JSON object"),
        ('{"a": {"duration_s": -1}}', "a: duration_s"),
        ('{"../a": {"duration_s": 30}}', "'../a' is not the name of a file"),
        ("{}", "has no track: give prescriptions=FILE.json"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, message):
    (tmp_path / "asked.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        judge_folder(tmp_path, tmp_path / "asked.json")
