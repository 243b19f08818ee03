"""What a newcomer gets wrong on the command line is said in one line, with what would be right."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import numpy as np
import pytest

from sonicrx_ml import audio, checkpoint, compose, tracks
from sonicrx_ml.drawing import clock
from sonicrx_ml.fitting import prescribe_for
from sonicrx_ml.goals import prescribe
from sonicrx_ml.journal import Journal
from sonicrx_ml.listener import example
from sonicrx_ml.notes import Notes, TempoMap, read_midi, write_midi
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.verdicts import Report

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def run(tmp_path, monkeypatch):
    def run(script, *given):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [script, *given])
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")

    return run


@pytest.fixture
def refused(run, capsys):
    def refused(script, *given) -> str:
        with pytest.raises(SystemExit) as stopped:
            run(script, *given)
        assert stopped.value.code == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        return line

    return refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("key=H duration_s=30", "error: key 'H'; legal are C, Db, D"),
        ("tempo=[300] duration_s=30", "error: tempo [300] is not a curve; legal are a number"),
        ("tempo=[300,60] duration_s=30", "error: tempo 300 at fraction 0; legal are 40 to 210 BPM"),
        ("instruments=[kazoo] duration_s=30", "error: instruments 'kazoo'; legal are piano"),
        ("duration_s=5", "error: duration_s 5; legal are 10 to 7200 s"),
        ("goal=joy", "error: goal 'joy'; legal are anxiety, stress"),
        ("colour=blue", "error: unknown colour; legal are duration_s, goal"),
        ("sampling.heat=2", "error: unknown sampling.heat; legal are temperature, top_p"),
        ("sampling.top_p=2", "error: top_p 2.0; legal are 0.01 to 1.0"),
        ("n=two", "error: Error merging override n=two: Value 'two' of type 'str' could not"),
        ("key=F#", "error: cannot read key=F#; legal is name=value, quoted as in 'key=\"F#\"'"),
        ("duration_s=30 checkpoint=nowhere", "error: nowhere is not a bundle: model.safetensors"),
        ("prescription=missing.json", "error: missing.json: No such file or directory"),
        ("course=one_week given=a.mid", "error: course with given; legal is one of them"),
        ("given=a.mid psychoacoustics=true", "error: psychoacoustics with course or given; legal"),
        ("", "error: duration_s is required; legal are 10 to 7200 s"),
    ],
)
def test_sample_refuses_in_one_line(refused, given, said):
    assert refused("sample.py", *given.split()).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{nope", "Expecting property name enclosed in double quotes: line 1"),
        ("[1]", "a prescription is a JSON object, not list"),
        ('{"duration_s": 30, "colour": "blue"}', "unknown control 'colour'; legal are"),
        ('{"duration_s": 3}', "duration_s 3; legal are 10 to 7200 s"),
    ],
)
def test_a_bad_prescription_file_is_named(refused, tmp_path, text, said):
    (tmp_path / "mine.json").write_text(text)
    assert refused("sample.py", "prescription=mine.json").startswith(f"error: mine.json: {said}")


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        ("prepare_data.py", "", "error: required and not given: data.root"),
        ("prepare_data.py", "data.root=nowhere out=here", "error: data.root='nowhere' is not a"),
        ("train.py", "model=huge", "error: In 'train': Could not find 'model/huge'; legal are"),
        ("train.py", "optim.lr=-1", "error: optim.lr=-1.0; it must be positive"),
        ("train.py", "data=corpus", "error: data.prepared='data/corpus' is not a prepared folder"),
        ("evaluate.py", "what=[looks]", "error: what=['looks']; legal are nats, suite"),
        ("evaluate.py", "", "error: checkpoints/small is not a bundle"),
        ("sessions.py", "", "error: required and not given: listener"),
        ("sessions.py", "listener=Anna", "error: listener 'Anna'; legal are pseudonyms"),
        ("sessions.py", "listener=L-1 do=erase", "error: do=erase; legal are add, correct"),
        ("sessions.py", "listener=L-1 do=add", "error: do=add needs prescription=, the JSON"),
        ("sessions.py", "listener=L-1 do=withdraw", "error: do=withdraw needs number=, the row"),
        ("sessions.py", "listener=L-1 do=suggest", "error: do=suggest needs profile=, the list"),
        (
            "sessions.py",
            "listener=L-1 do=accept",
            "error: journals has no journal of L-1; do=add begins",
        ),
        ("sample.py", "course=two_weeks", "error: course 'two_weeks' needs a goal; legal is goal="),
        ("sample.py", "course=a_year goal=grief", "error: course 'a_year'; legal are one_week"),
        ("sample.py", "course=one_week goal=grief n=2", "error: a course has a track a day from"),
    ],
)
def test_every_script_refuses_in_one_line(refused, script, given, said):
    assert refused(script, *given.split()).startswith(said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("engine=timidity", "error: engine 'timidity'; legal are auto, fluidsynth, tinysoundfont"),
        ("font=absent.sf2", "error: font 'absent.sf2' is not a file; legal are paths of .sf2"),
        ("engine=tinysoundfont font=text.sf2", "error: text.sf2 is not a SoundFont that tiny"),
        ("out=text.sf2", "error: text.sf2: File exists"),
    ],
)
def test_sound_and_folder_are_refused_before_composing(
    refused, bundle, tmp_path, monkeypatch, given, said
):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    monkeypatch.setattr(compose, "compose", lambda *_: pytest.fail("composed first"))
    (tmp_path / "text.sf2").write_text("not a font")
    assert refused("sample.py", "duration_s=12", *given.split()).startswith(said)


def test_the_traceback_is_there_for_who_asks(run, monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(ValueError, match="key 'H'; legal are"):
        run("sample.py", "key=H", "duration_s=30")


def test_our_own_mistakes_keep_their_traceback(run, monkeypatch):
    monkeypatch.setattr(checkpoint, "load", lambda folder: {}[folder])
    with pytest.raises(KeyError):
        run("sample.py", "duration_s=30")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("override=me goal=grief", "override and step_percent need a listener"),
        ("listener=P07.json duration_s=30", "a listener needs a goal; legal is goal=NAME, or pre"),
        ("listener=P07.json goal=grief", "goal 'grief' for listener P07 needs a clinician's over"),
        ("listener=P07.json goal=grief override=yes", "override 'yes'; legal is 'who: why'"),
        ("listener=absent.json goal=grief", "absent.json: No such file"),
        ("listener=anna.json goal=grief", "anna.json: unknown field 'name'; legal are id"),
    ],
)
def test_a_listener_is_refused_in_one_line(refused, tmp_path, given, said):
    values = json.loads(example().to_json())
    values["screening"]["mania"] = True
    (tmp_path / "P07.json").write_text(json.dumps(values))
    (tmp_path / "anna.json").write_text('{"id": "P08", "name": "Anna"}')
    assert refused("sample.py", *given.split()).startswith(f"error: {said}")


def test_a_track_for_a_listener_says_why_and_keeps_the_pseudonym_only(
    run, bundle, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    values = json.loads(example().to_json())
    values["screening"]["mania"], values["heart_rate"] = True, 91.375
    (tmp_path / "mine.json").write_text(json.dumps(values))
    given = ["listener=mine.json", "goal=grief", "duration_s=24", "override='Dr B: stays'"]
    run("sample.py", *given, "out=made")
    printed = capsys.readouterr().out
    assert "Only with a clinician present." in printed
    assert "instruments piano, cello -> cello, piano: liked instruments lead" in printed
    (folder,) = (tmp_path / "made").iterdir()
    assert json.loads((folder / "prescription.json").read_text())["instruments"] == [
        "cello", "piano",
    ]  # fmt: skip
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["listener"] == {"id": "P07", "override": True}
    assert not {"prescription", "playback_db_spl"} & manifest.keys()
    for name in ("report.html", "label.html"):
        text = (folder / name).read_text()
        assert "Only with a clinician present." in text
        assert "Let pass" in text
        assert "Dr B: stays" in text
        assert "cello, piano" in text
    for path in folder.glob("*.[jh]*"):
        text = path.read_text()
        assert "mania" not in text
        assert "harp" not in text
    told = [path.name for path in folder.rglob("*")] + [folder.name, str(manifest)]
    told += [str(audio.read_tags(folder / "track.flac")), str((folder / "track.mid").read_bytes())]
    for fact in ("mania", "harp", "bells", "heart", "91.375", "cadence", "likes", "degree"):
        assert not any(re.search(rf"\b{fact}\b", text) for text in told), fact


def test_the_command_on_the_label_gives_the_same_notes(run, bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    given = ["goal=grief", "duration_s=12", "key=D", "sampling.guidance=2", "sampling.best_of=2"]
    run("sample.py", *given, "out=first")
    (first,) = (tmp_path / "first").iterdir()
    shutil.copy(first / "prescription.json", tmp_path)
    label = unescape((first / "label.html").read_text())
    command = re.search("<code>python scripts/sample.py (.*?)</code>", label)
    assert command is not None
    run("sample.py", *command[1].split(), "out=again")
    (again,) = (tmp_path / "again").iterdir()
    assert (again / "track.mid").read_bytes() == (first / "track.mid").read_bytes()
    assert (again / "label.html").read_bytes() == (first / "label.html").read_bytes()


def theirs() -> bytes:
    """Eight bars of 4/4 in C at 80 BPM, a chord on every beat."""
    onset = np.repeat(np.arange(32.0), 3)
    pitch = np.array([[60, 64, 67], [60, 65, 69], [59, 62, 67], [60, 64, 67]])
    ones = np.ones(96, np.int64)
    return write_midi(
        Notes(onset, np.ones(96), np.tile(pitch.ravel(), 8), 64 * ones, 0 * ones,
              tempo=TempoMap(np.zeros(1), np.full(1, 80.0)))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "bars", "place"),
    [("duration_s=14 final_silence_s=2", [9, 11], ""), ("fill=[3,6]", [3, 6], "fill=[3,6] ")],
)
def test_music_composed_on_to_a_file_has_a_report_a_label_and_a_command(
    run, bundle, tmp_path, monkeypatch, given, bars, place
):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    (tmp_path / "theirs.mid").write_bytes(theirs())
    run("sample.py", "given=theirs.mid", "goal=sleep", *given.split(), "out=first")
    (first,) = (tmp_path / "first").iterdir()
    manifest = json.loads((first / "manifest.json").read_text())
    assert manifest["new_bars"] == bars
    assert {"checkpoint_sha256", "versions", "machine", "font_sha256"} <= manifest.keys()
    label = unescape((first / "label.html").read_text())
    assert f"bars {bars[0]} to {bars[1]} are new, the rest was given" in label
    assert "dBA at the ear" in label, "measured on the whole file"
    assert "Never while driving or using machines" in (first / "report.html").read_text()
    report = Report.from_json((first / "report.json").read_text())
    assert report.row("startle", "sound").limit
    silence = 2.0 if not place else 0.0  # filled bars are followed by what was given
    seconds = read_midi(first / "track.mid").end_seconds + silence
    assert manifest["seconds"] == pytest.approx(seconds)
    assert f"{clock(seconds)} a session{', the last 0:02 silent' if silence else ';'}" in label
    assert report.row("duration", "sound").asked == pytest.approx(seconds, abs=0.01)
    for name in ("duration", "loudness", *(["final silence"] if silence else [])):
        assert report.row(name, "sound").verdict == "pass", name
    assert report.find("tempo", "sound") is None, "that was asked of the new bars alone"
    shutil.copy(first / "prescription.json", tmp_path)
    command = re.search("<code>python scripts/sample.py (.*?)</code>", label)
    assert command is not None
    assert f"given=… {place}" in command[1].replace("'", "")
    assert report.row("tempo").verdict == "pass"
    with pytest.raises(ValueError, match="has no track"):  # what is prescribed is a part of it
        tracks.listed(tmp_path / "first")
    assert tracks.unclaimed(tmp_path / "first", []) == [first.name]
    words = command[1].replace("…", "theirs.mid").replace("'", "").split()
    run("sample.py", *words, "out=again")
    (again,) = (tmp_path / "again").iterdir()
    assert (again / "track.mid").read_bytes() == (first / "track.mid").read_bytes()


def test_a_given_file_that_cannot_be_read_is_named(refused, tmp_path):
    (tmp_path / "theirs.mid").write_bytes(b"no music")
    said = refused("sample.py", "given=theirs.mid", "goal=sleep", "duration_s=60")
    assert said.startswith("error: theirs.mid: not a MIDI file")


@pytest.mark.parametrize(
    ("script", "given", "said"),
    [
        ("sample.py", "goal=sleep starts=2026-12-01", "starts without course; legal is with"),
        ("sample.py", "goal=sleep durration_s=60", "unknown durration_s (did you mean duration_s"),
        ("evaluate.py", "tracks=made limit=1", "limit=1 with tracks: all are judged; legal is"),
        ("sessions.py", "listener=P07.json", "listener=P07.json; legal is the pseudonym, and"),
        ("sessions.py", "listener=P07 do=add began=1.12.2026 prescription=a.json minutes=2 "
         "level_db_spl=60", "began=1.12.2026; legal is a time as 2026-12-01T20:30"),
        ("evaluate.py", "tracks=. prescriptions=broken.json", "broken.json: Expecting"),
    ],
)  # fmt: skip
def test_what_would_be_passed_over_or_misread_is_refused(refused, tmp_path, script, given, said):
    (tmp_path / "broken.json").write_text("{")
    assert refused(script, *given.split()).startswith(f"error: {said}")


def test_a_day_to_start_on_that_is_none_is_refused(refused):
    said = refused("sample.py", "course=one_week", "goal=sleep", "starts=1.12.2026")
    assert said == "error: starts=1.12.2026; legal is a day as 2026-12-01"


def test_what_is_given_cannot_breathe(refused, tmp_path, bundle, monkeypatch):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    (tmp_path / "theirs.mid").write_bytes(theirs())
    said = refused("sample.py", "given=theirs.mid", "duration_s=60", "breaths_per_min=6")
    assert said.startswith("error: breaths_per_min, but what is given does not breathe")


def test_a_run_that_is_stopped_says_so(run, monkeypatch, capsys):
    def stop(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "load", stop)
    with pytest.raises(SystemExit) as stopped:
        run("sample.py", "goal=sleep", "duration_s=60")
    assert stopped.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_sample_leaves_a_track_and_a_table(run, bundle, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    run("sample.py", "goal=grief", "duration_s=12", "n=2", "seed=5", "out=made")
    printed = capsys.readouterr().out
    folders = [path.relative_to(tmp_path) for path in (tmp_path / "made").iterdir()]
    assert len(folders) == 2
    for folder in folders:
        assert f"track: {folder}" in printed
        assert (tmp_path / folder / "report.html").is_file()
    assert printed.count("asked attributes met") == 2


def test_a_journal_that_is_not_there_is_not_made_by_reading_it(refused, tmp_path):
    said = refused("sessions.py", "listener=L-17", "do=list")
    assert said == "error: journals has no journal of L-17; do=add begins one"
    assert not (tmp_path / "journals").exists()


def test_a_journal_from_the_first_session_to_an_accepted_suggestion(run, tmp_path, capsys):
    def said(*given: str) -> str:
        run("sessions.py", "listener=L-17", *given)
        return capsys.readouterr().out

    (tmp_path / "heard.json").write_text(prescribe("anxiety").to_json())
    heard = "prescription=heard.json", "minutes=25", "suds_before=7", "suds_after=4"
    assert said("do=add", *heard, "level_db_spl=55", "began=2026-03-02T21:00+01:00") == "row 1\n"
    assert said("do=correct", "number=1", *heard, "level_db_spl=60") == "row 2\n"
    assert said().startswith("2  20")
    assert "25 min, 60 dB SPL, finished, SUDS 7 -> 4" in said("do=list")
    assert said("do=export") == "journals/L-17.csv\n"
    assert said("do=chart") == "journals/L-17.svg\n"
    who = replace(example(), id="L-17", heart_rate=92, anchor=None)
    (tmp_path / "L-17.json").write_text(who.to_json())
    shown = said("do=suggest", "goal=anxiety", "profile=L-17.json")
    assert shown.startswith("suggestion 1: From 1 rated sessions of L-17")
    assert "Nothing changes until a person accepts." in shown
    assert said("do=add", *heard, "level_db_spl=55") == "row 3\n"  # which would change the next
    assert said("do=accept", "by=C-3", "out=next.json") == "next.json: anxiety, 1500 s\n"
    accepted = Prescription.from_json((tmp_path / "next.json").read_bytes())
    journal = Journal(tmp_path / "journals", "L-17")
    (decision,) = journal.decisions()
    assert (decision.by, decision.proposed) == ("C-3", accepted)
    assert decision.words in shown
    assert decision.base == prescribe_for(who, "anxiety").prescription
    assert accepted != decision.base
    assert "harp" not in (accepted.instruments or ())


def test_the_profile_of_somebody_else_is_refused(refused, tmp_path):
    (tmp_path / "P07.json").write_text(example().to_json())
    given = "listener=L-17", "do=suggest", "goal=anxiety", "profile=P07.json"
    assert refused("sessions.py", *given) == "error: profile of P07; legal is that of L-17"


def test_a_suggestion_stops_at_the_screen(refused, tmp_path):
    values = json.loads(example().to_json())
    values["screening"]["mania"] = True
    (tmp_path / "P07.json").write_text(json.dumps(values))
    given = "listener=P07", "do=suggest", "goal=anxiety", "profile=P07.json"
    assert "needs a clinician's override (mania)" in refused("sessions.py", *given)


def test_a_prescription_from_a_file_passes_the_screen_of_a_listener(
    run, bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr(checkpoint, "load", lambda folder: bundle)
    (tmp_path / "P07.json").write_text(example().to_json())
    asked = prescribe("grief", 12, instruments=["harp", "piano"], playback_db_spl=80)
    (tmp_path / "next.json").write_text(asked.to_json())
    run("sample.py", "prescription=next.json", "listener=P07.json", "out=made")
    (folder,) = (tmp_path / "made").iterdir()
    told = json.loads((folder / "prescription.json").read_text())
    assert told["instruments"] == ["piano"]
    assert told["playback_db_spl"] == 70


def test_a_full_week_is_warned_of(run, tmp_path, capsys):
    (tmp_path / "heard.json").write_text(prescribe("anxiety", 3600).to_json())
    heard = "do=add", "prescription=heard.json", "minutes=60", "level_db_spl=98"
    run("sessions.py", "listener=L-17", *heard)
    assert "weekly hearing allowance is used up: 160%" in capsys.readouterr().err
