"""Tracks of another system: what is there is judged, what is not or cannot be read has failed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from sonicrx_ml import evaluation, evaluation_page, results, tracks
from sonicrx_ml.conformance import judge
from sonicrx_ml.notes import Notes, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.suite import Judged

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


def cadence(rate: int = 48_000) -> np.ndarray:
    """I IV V I of C major, 3 s each, six partials a tone."""
    time = np.arange(3 * rate) / rate
    roots = ((60, 64, 67), (60, 65, 69), (59, 62, 67), (60, 64, 67))
    hertz = [[440 * 2 ** ((pitch - 69) / 12) for pitch in chord] for chord in roots]
    return np.concatenate(
        [
            sum(0.05 * np.sin(2 * np.pi * k * hz * time) / k for hz in chord for k in range(1, 7))
            for chord in hertz
        ]
    )


def judge_folder(folder: Path, asked: Path | None = None, out: Path | None = None) -> list[Judged]:
    return tracks.judge_all(tracks.listed(folder, asked), out or folder.parent / "judged")


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
    heard = found["key and mode (CK) (sound)"]
    assert (heard.value, heard.n) == (0.0, 2), "one tone is in no key of C"
    assert set(evaluation.failures(judged)) == {"broken", "missing", "six"}


def test_a_key_is_heard_in_the_sound_or_its_relative(tmp_path):
    """The same chord of C, asked for in four keys: exactly, as its relative, and not at all."""
    (tmp_path / "made").mkdir()
    asked = {"c": ("C", "major"), "a": ("A", "minor"), "g": ("G", "major"), "cm": ("C", "minor")}
    for name in asked:
        soundfile.write(tmp_path / f"made/{name}.wav", cadence(), 48_000)
    prescriptions = {n: ASKED | {"key": key, "mode": mode} for n, (key, mode) in asked.items()}
    (tmp_path / "asked.json").write_text(json.dumps(prescriptions))
    found = evaluation.figures(judge_folder(tmp_path / "made", tmp_path / "asked.json"))
    for name, share in (("key and mode (CK)", 0.25), ("key or relative (CKD)", 0.5)):
        assert (found[f"{name} (sound)"].value, found[f"{name} (sound)"].n) == (share, 4)
    assert found["key and mode (CK)"].n == 0


def test_levels_stand_with_the_figures_that_hang_on_them(folder):
    levels = {
        name: ASKED | {"playback_db_spl": level, "max_sharpness_acum": 3}
        for name, level in (("both", 55), ("sound", 70))
    }
    (folder.parent / "levels.json").write_text(json.dumps(levels))
    judged = judge_folder(folder, folder.parent / "levels.json")
    found = evaluation.figures(judged)
    for level in (55, 70):
        assert found[f"sharpness passes at {level} dB SPL (sound)"].n == 1
    assert found["startle passes (sound)"].n == 2
    heard = evaluation.qualities(judged)
    quiet, loud = (heard[f"mean loudness, sone at {level} dB SPL"] for level in (55, 70))
    assert quiet.value < loud.value, "one track, at its level"
    assert "loudness range, LU" not in heard, "flagged: of tracks so short it says nothing"
    assert heard["loudness, LUFS"].value == pytest.approx(
        np.mean([j.report.row("loudness", "sound").realised for j in judged])
    )
    assert "key" not in heard


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
        tracks.listed(tmp_path, tmp_path / "asked.json")


def asked_for(tmp_path: Path, *names: str) -> Path:
    path = tmp_path / "asked.json"
    path.write_text(json.dumps(dict.fromkeys(names, ASKED)))
    return path


def test_names_may_have_suffixes_and_suffixes_capitals(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    for name in ("one.mid", "two.MID", "v1.2.midi"):
        (made / name).write_bytes(chords())
    found = judge_folder(made, asked_for(tmp_path, "one.mid", "two", "v1.2"))
    assert [j.midi.name for j in found] == ["one.mid", "two.MID", "v1.2.midi"]
    assert [j.report.failure for j in found] == [None] * 3


def test_a_name_with_a_dot_is_not_taken_for_another(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "v1.mid").write_bytes(chords())
    soundfile.write(made / "v1.2.wav", ticks(), 48_000)
    found = judge_folder(made, asked_for(tmp_path, "v1", "v1.2", "v1.3"))
    assert [j.midi.name for j in found] == ["v1.mid", "v1.2.mid", "v1.3.mid"]
    assert set(evaluation.failures(found)) == {"v1.3"}


def test_failures_of_our_own_folders_are_told_apart(tmp_path):
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prescription.json").write_text(json.dumps(ASKED))
    (tmp_path / "one" / "track.mid").write_bytes(chords())
    assert set(evaluation.failures(judge_folder(tmp_path))) == {"two/track", "three/track"}


def test_two_names_of_one_track_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"'a' and 'a\.mid' are one track"):
        tracks.listed(tmp_path, asked_for(tmp_path, "a", "a.mid"))


def test_what_is_not_read_is_named_with_what_would_be(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "one.mid").write_bytes(chords())
    (made / "two.m4a").write_bytes(b"....ftypM4A ")
    _, two = judge_folder(made, asked_for(tmp_path, "one", "two"))
    assert str(two.report.failure).startswith("two.m4a: neither MIDI nor sound that is read")


def test_a_folder_with_no_file_of_any_track_is_refused(tmp_path):
    (tmp_path / "other.mid").write_bytes(chords())
    with pytest.raises(ValueError, match="has no file of any track"):
        tracks.listed(tmp_path, asked_for(tmp_path, "one", "two"))


def test_files_of_no_track_are_listed(folder):
    (folder / "stray.MID").write_bytes(chords())
    (folder / "readme.txt").write_text("no music")
    listed = tracks.listed(folder, folder.parent / "asked.json")
    assert tracks.unclaimed(folder, listed) == ["stray.MID"]


def test_what_was_judged_is_judged_again_where_it_changed_alone(folder, monkeypatch):
    asked = folder.parent / "asked.json"
    before = judge_folder(folder, asked)
    (folder / "notes.mid").write_bytes(b"MThd and no more")
    judged = []

    def counted(*given, **more):
        judged.append(given)
        return judge(*given, **more)

    monkeypatch.setattr(tracks, "judge", counted)
    after = judge_folder(folder, asked)
    assert len(judged) == 1
    same = [a.report == b.report for a, b in zip(after, before, strict=True)]
    assert same == [True, True, True, False, True, True]


@pytest.mark.parametrize(("rate", "level"), [(48_000, 1.0), (192_000, 1.0), (22_050, 8.0)])
def test_the_page_plays_the_sound_that_was_judged(tmp_path, rate, level):
    made = tmp_path / "made"
    made.mkdir()
    soundfile.write(made / "one.wav", level * ticks(rate=rate), rate, subtype="FLOAT")
    (made / "one.mid").write_bytes(chords())
    out = tmp_path / "judged"
    found = {"tracks": judge_folder(made, asked_for(tmp_path, "one"), out)}
    results.write(out, evaluation.by_column(found), found)
    (kept,) = results.load(out).tracks["tracks"]
    (tmp_path / "heard.mp3").write_bytes(evaluation_page.preview(kept))
    heard, its_rate = soundfile.read(tmp_path / "heard.mp3")
    spectrum = np.abs(np.fft.rfft(heard))
    assert np.argmax(spectrum) * its_rate / len(heard) == pytest.approx(440.0, abs=1.0)
    assert len(heard) / its_rate == pytest.approx(12.0, abs=0.2)
