"""The clinician's page without a browser: what is asked, made, checked, exported and logged."""

from __future__ import annotations

import json
import socket
import threading
import zipfile
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from sonicrx_ml import audio, claims, course, rules
from sonicrx_ml.course import Shape
from sonicrx_ml.fitting import prescribe_for
from sonicrx_ml.goals import evidence, goal_names, prescribe
from sonicrx_ml.journal import Journal
from sonicrx_ml.listener import Listener
from sonicrx_ml.motifs import composed
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.report import WORDING
from sonicrx_ml.screening import items
from sonicrx_ml.ui import serve
from sonicrx_ml.ui.asking import Asking
from sonicrx_ml.ui.jobs import Job, Worker, remaining
from sonicrx_ml.ui.making import time_to_make
from sonicrx_ml.ui.page import ClinicianPage
from sonicrx_ml.ui.takes import Take, export, instrument_sound, marks
from sonicrx_ml.ui.widgets import PART_BYTES, Sender
from sonicrx_ml.ui.words import check_html, describe

NO_TO_ALL = dict.fromkeys(items(), False)


@pytest.fixture(scope="module", autouse=True)
def quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "TOKENS_PER_BAR", 20)
        patch.setenv(audio.FONT_VARIABLE, str(audio.PACKAGED_FONT))
        yield


@pytest.fixture
def page(small, tmp_path) -> ClinicianPage:
    return ClinicianPage(small, tmp_path / "tracks", tmp_path / "journals")


def wait(page: ClinicianPage) -> None:
    """Until the worker has nothing to do; without a kernel its news arrives at once."""
    page.worker._pool.submit(lambda: None).result(300)


class Listening(ClinicianPage):
    """A page that writes down what was heard early."""

    def _heard(self, sound: bytes, picture: str) -> None:
        self.heard = [*getattr(self, "heard", []), (sound, picture)]
        super()._heard(sound, picture)


@pytest.fixture(scope="module")
def made(small, tmp_path_factory) -> Listening:
    """A page on which two takes were made, and what was heard of them early."""
    folder = tmp_path_factory.mktemp("made")
    page = Listening(small, folder / "tracks", folder / "journals")
    page.ask(goal="grief", minutes=0.35, seed=7, takes="2", best_of="1", instruments=["piano"])
    page.generate()
    wait(page)
    assert page.actions.alarm == ""
    return page


# ---------------------------------------------------------------- what is asked


@pytest.mark.parametrize("goal", goal_names())
def test_a_goal_fills_every_control_with_its_evidence(page, goal):
    page.ask(goal=goal)
    asked, found = prescribe(goal), evidence(goal)
    assert page.state.prescription() == (asked, None)
    assert page.asking.values["minutes"] == asked.duration_s / 60
    for parameter in found.parameters:
        place = "minutes" if parameter.name == "duration_s" else parameter.name
        mark, why = page.asking.marks[place]
        assert mark == parameter.strength
        assert parameter.reason[1:] in why
    assert found.claim in unescape(page.evidence.value)
    assert found.caution in unescape(page.evidence.value)
    assert describe(asked) in unescape(page.asked.value)
    assert claims.forbidden(page.evidence.value + page.asked.value) == []


def test_the_page_says_what_it_is_not(page):
    texts = [child.value for child in page.children if hasattr(child, "value")]
    assert any(WORDING in text for text in texts)


def test_the_controls_are_what_is_asked(page):
    tempo = [[0, 70], [0.5, 50], [1, 60]]
    page.ask(goal="grief", minutes=0.5, key="F#", mode="major", instruments=["harp", "flute"],
             seed=7, tempo=tempo)  # fmt: skip
    wanted = prescribe("grief", 30, key="F#", mode="major", instruments=["harp", "flute"], seed=7,
                       tempo=tempo)  # fmt: skip
    assert page.state.prescription()[0] == wanted
    assert page.asking.values["tempo"] == [[0.0, 70.0], [0.5, 50.0], [1.0, 60.0]]
    assert page.asking.marks["tempo"][0] == "own"
    assert page.asking.marks["energy"][0] == evidence("grief").parameter("energy").strength  # type: ignore[union-attr]


def test_another_energy_opens_what_it_is_made_of(page):
    assert page.asking.values["density"] is not None
    page.ask(energy=[[0, 0.6], [1, 0.6]])
    assert page.asking.values["density"] is None
    assert page.asking.values["articulation"] is None


def test_another_goal_brings_its_own_values_but_the_take_stays(page):
    page.ask(tempo=[[0, 100], [1, 100]], seed=9)
    page.ask(goal="sleep")
    assert page.state.prescription()[0] == prescribe("sleep", seed=9)


@pytest.mark.parametrize(
    ("control", "illegal", "legal", "said"),
    [
        ("minutes", 0.1, 0.5, "length in seconds 6.0; legal are 10 to 7200 s"),
        ("minutes", None, 1.0, "legal are 10 to 7200 s"),
        ("seed", -1, 1, "seed -1; legal are whole numbers"),
        ("seed", 1.5, 1, "seed 1.5; legal are whole numbers"),
        ("instruments", ["violin", "cello"], ["cello"], "both of the family 'strings'"),
        ("tempo", [[0, 300], [1, 60]], [[0, 80], [1, 60]], "tempo 300 at fraction 0; legal are 40"),
        ("playback_db_spl", 120, 60, "playback_db_spl 120; legal are 40 to 85 dB SPL"),
    ],
)
def test_what_is_illegal_is_refused_in_a_sentence_until_it_is_mended(
    page, control, illegal, legal, said
):
    page.ask(**{control: illegal})
    assert said in unescape(page.asked.value)
    assert "role='alert'" in page.asked.value
    assert said in page.asking.errors[control]
    assert page.asking.values[control] == illegal
    assert page.actions.enabled == []
    page.ask(**{control: legal})
    assert "role='alert'" not in page.asked.value
    assert page.asking.errors == {}
    assert page.actions.enabled == ["generate"]


def test_an_anchor_is_composed_or_read_and_taken_away(page):
    page.ask(minutes=2, anchor="composed", anchor_seed=4, anchor_at="0, 0.5")
    asked = page.state.prescription()[0]
    assert asked.anchor == composed(4, "major", "4/4")
    assert asked.anchor_at == (0.0, 0.5)
    assert "an anchor twice" in page.asked.value
    page._anchor_given("anchor_file", "P07.json", composed(5).to_json().encode())
    assert page.state.prescription()[0].anchor == composed(5)
    page._anchor_given("anchor_file", "P07.mid", b"no MIDI")
    assert "P07.mid" in page.asking.errors["anchor_file"]
    assert page.state.prescription()[0].anchor == composed(5)
    page.ask(anchor="none")
    assert page.state.prescription()[0].anchor is None


def test_the_anchor_of_a_profile_returns_unless_none_is_chosen(page):
    listener = Listener(id="P07", anchor=composed(3), screening=NO_TO_ALL)
    page._profile_given("profile", "P07.json", listener.to_json().encode())
    assert page.state.prescription()[0].anchor == composed(3)
    page.ask(anchor_at="0.2, 0.7")
    assert page.state.prescription()[0].anchor_at == (0.2, 0.7)
    page.ask(anchor="none")
    assert page.state.prescription()[0].anchor is None


# ---------------------------------------------------------------- who listens


def test_a_listener_is_screened_fitted_and_warned_of(page):
    for name, value in {"id": "P07", "heart_rate": 90, "dislikes": ["harp"]}.items():
        page._person_changed(name, value)
    assert "first needs an answer" in unescape(page.asked.value)  # a refusal may hang on it
    assert page.actions.enabled == []
    for name in items():
        page._person_changed(name, name == "tinnitus")
    assert "stands against it" in page.asked.value
    assert "write who and why" in page.asked.value
    page._person_changed("override", "Dr B: present throughout")
    asked, fitted = page.state.prescription()
    listener = Listener(id="P07", heart_rate=90, dislikes=("harp",),
                        screening=NO_TO_ALL | {"tinnitus": True})  # fmt: skip
    assert fitted == prescribe_for(listener, "anxiety", override="Dr B: present throughout")
    assert asked.tempo is not None
    assert asked.tempo.points[0][1] == 90
    assert page.asking.values["tempo"][0] == [0.0, 90.0]
    assert "harp" not in page.asking.values["instruments"]
    for warning in fitted.warnings:
        assert warning in unescape(page.fitted.value)
    assert "Dr B" in page.fitted.value


def test_what_the_screen_refuses_no_override_lets_pass(page):
    page.ask(goal="sleep")
    for name, value in ({"id": "P07", "override": "Dr B: present"} | NO_TO_ALL
                        | {"driving_or_machines": True}).items():  # fmt: skip
        page._person_changed(name, value)
    assert "stands against it" in page.asked.value
    assert "may decide otherwise" not in page.asked.value
    assert page.actions.enabled == []


def test_a_name_is_no_pseudonym_and_is_said_beside_its_field(page):
    page._person_changed("id", "Jane Doe")
    assert "never a name" in page.person.errors["id"]
    page._person_changed("id", None)
    assert page.person.errors == {}


def test_a_profile_is_saved_and_opened_again(page):
    listener = Listener(id="P07", heart_rate=70, likes=("cello",), screening=NO_TO_ALL)
    page._profile_given("profile", "P07.json", listener.to_json().encode())
    assert page.state.listener() == listener
    page._save_profile()
    assert page.keeper.download == "download/P07.json"
    content = page._file(page.keeper.download)
    assert isinstance(content, bytes)
    assert Listener.from_json(content) == listener
    page._profile_given("profile", "x.json", b'{"name": "Jane"}')
    assert "x.json: unknown field" in page.person.errors["profile"]
    assert page.state.listener() == listener


# ---------------------------------------------------------------- made again


@pytest.mark.parametrize(
    "asked",
    [
        prescribe("sleep", 300, key="D", seed=4),
        prescribe("anxiety", 90, mode=None, energy=None, breaths_per_min=[12, 6], strategy="iso"),
        prescribe("grief", 120, anchor=composed(3, "minor"), anchor_at=(0.0, 0.6)),
        Prescription.from_dict(
            {
                "duration_s": 45,
                "goal": "my_own",
                "meter": "3/4",
                "tempo": [[0, 80], [0.4, 60], [1, 70]],
            }
        ),
        Prescription(duration_s=60, arc="build_release", arc_peak=0.6, playback_db_spl=55),
    ],
)
def test_a_manifest_restores_every_control(page, asked):
    manifest = {"prescription": asked.to_dict(), "sampling": {"best_of": 8}}
    page._manifest_given("manifest", "manifest.json", json.dumps(manifest).encode())
    assert page.again.errors == {}
    found = page.state.prescription()[0]
    same = {name for name in CONTROLS if name != "goal" or asked.goal in goal_names()}
    assert {name: getattr(found, name) for name in same} == {
        name: getattr(asked, name) for name in same
    }
    assert page.state.best_of == 8
    again = Asking.of_draft(json.loads(json.dumps(page.state.draft())))
    assert again.prescription()[0] == found  # what the browser's tab remembers is the same


@pytest.mark.parametrize(
    "text", [b"no json", b"[1]", b"{}", b'{"prescription": {"duration_s": 1}}', b"\xff\xfe"]
)
def test_what_is_no_manifest_changes_nothing(page, text):
    page.ask(goal="sleep", seed=5)
    page._manifest_given("manifest", "x.json", text)
    assert page.again.errors["manifest"].startswith("x.json: ")
    assert page.state.prescription()[0] == prescribe("sleep", seed=5)


# ---------------------------------------------------------------- work beside the page


def test_a_job_tells_how_far_it_is_and_what_came_of_it():
    told: list[Any] = []
    worker = Worker()

    def work(job: Job) -> int:
        job.step(0.5, "halfway")
        return 7

    job = worker.job(lambda *step: told.append(step))
    worker.start(job, work, told.append, told.append).result(20)
    assert told == [(0.5, "halfway · working out the time left"), 7]


def test_a_cancelled_job_stops_at_its_next_step_and_says_nothing():
    told: list[Any] = []
    begun, go_on = threading.Event(), threading.Event()

    def work(job: Job) -> None:
        begun.set()
        go_on.wait(20)
        job.step(0.9, "too late")
        told.append("went on")

    worker = Worker()
    job = worker.job(lambda *step: told.append(step))
    future = worker.start(job, work, told.append, told.append)
    begun.wait(20)
    job.cancel()
    go_on.set()
    future.result(20)
    assert told == []


@pytest.mark.parametrize(
    ("error", "said"),
    [(ValueError("seed -1; legal are"), "seed -1; legal are"), (OSError("no space"), "no space"),
     (KeyError("x"), "KeyError: 'x'; what you chose is kept")],
)  # fmt: skip
def test_a_job_that_fails_says_so_in_a_sentence(error, said):
    told: list[str] = []

    def work(job: Job) -> None:
        raise error

    worker = Worker()
    worker.start(worker.job(), work, lambda _: None, told.append).result(20)
    assert told == [said]


@pytest.mark.parametrize(
    ("elapsed", "share", "said"),
    [
        (30, 0.0, "working out the time left"),
        (30, 0.5, "about 30 s left"),
        (60, 0.25, "about 3 min left"),
        (60, 0.99, "a few seconds left"),
    ],
)
def test_the_time_left_in_words(elapsed, share, said):
    assert remaining(elapsed, share) == said


def test_the_time_it_takes_in_words():
    assert "less than a minute" in time_to_make(60, 1, 4)
    assert "about 8 minutes" in time_to_make(1800, 1, 4)
    assert "about 15 minutes" in time_to_make(1800, 2, 4)


# ---------------------------------------------------------------- takes


def test_two_takes_are_made_heard_early_compared_and_one_is_kept(made):
    assert [take.prescription.seed for take in made.takes] == [7, 8]
    assert [take.folder.parent for take in made.takes] == [made.folder] * 2
    assert made.heard
    sound, picture = made.heard[0]
    assert len(sound) > 1000
    assert "<svg" in picture
    assert made.kept in made.takes
    assert made.kept.report.merit == max(take.report.merit for take in made.takes)
    assert [player.kept for player in made.players.children] == [
        take is made.kept for take in made.takes
    ]
    (other,) = (t for t in made.takes if t is not made.kept)
    made.players.children[made.takes.index(other)].keep()
    assert made.kept is other
    assert [player.kept for player in made.players.children] == [
        take is other for take in made.takes
    ]
    assert made.keeper.draft["kept"] == other.folder.name


def test_a_player_shows_notes_curves_loudness_and_marks(made):
    player = made.players.children[0]
    for shown in ("piano", "tempo", "loudness", "class='head'", "class='asked'"):
        assert shown in player.figure
    assert player.marks[0] == [0.0, "start"]
    preview = made._file(player.sound)
    assert preview == made.takes[0].folder / "preview.mp3"
    assert made._file("take/../../etc/passwd") is None


def test_a_page_loaded_anew_has_the_choices_and_the_takes(made, small, tmp_path):
    again = ClinicianPage(small, made.out, tmp_path)
    again.keeper.found = {
        "visitor": made.visitor,
        "draft": json.loads(json.dumps(made.keeper.draft)),
    }
    assert again.state.prescription() == made.state.prescription()
    assert [take.folder for take in again.takes] == [take.folder for take in made.takes]
    assert again.kept is not None
    assert again.kept.folder == made.kept.folder


def test_another_visitor_sees_nothing_of_it(made, small, tmp_path):
    other = ClinicianPage(small, made.out, tmp_path)
    other.keeper.found = {"visitor": "0" * 24, "draft": {}}
    assert other.takes == []
    assert other.visitor != made.visitor
    assert other._file(made.takes[0].sound) is None
    stranger = ClinicianPage(small, made.out, tmp_path)
    stranger.keeper.found = {"visitor": "../" + made.visitor, "draft": {}}
    assert stranger.takes == []
    assert len(stranger.visitor) == 24


@pytest.mark.parametrize("draft", [{"asking": {"goal": "x"}}, {"asking": {"edited": 3}}, {"a": 1}])
def test_a_draft_that_cannot_be_read_leaves_the_preset(page, draft):
    page.keeper.found = {"visitor": "1" * 24, "draft": draft}
    assert page.state.prescription()[0] == prescribe("anxiety")
    assert page.actions.enabled == ["generate"]


def test_an_interrupted_take_is_told_of(page):
    page.keeper.found = {"visitor": "2" * 24, "draft": {"asking": {"goal": "sleep"}, "busy": True}}
    assert "Generate makes the same take again" in page.actions.text
    assert page.state.prescription()[0] == prescribe("sleep")


def test_cancelling_keeps_nothing_of_it_and_the_next_take_is_whole(page):
    page.ask(minutes=1, best_of="1", instruments=["piano"])
    page.generate()
    assert page.actions.enabled == ["cancel"]
    assert page.keeper.draft["busy"]
    page.cancel()
    assert page.actions.enabled == ["generate"]
    wait(page)
    assert page.takes == []
    assert not list(page.folder.glob("*"))
    page.ask(minutes=0.2)
    page.generate()
    wait(page)
    assert len(page.takes) == 1
    assert "Made" in page.actions.text


def test_a_missing_checkpoint_is_said_in_a_sentence(tmp_path):
    page = ClinicianPage(tmp_path / "nowhere", tmp_path / "tracks", tmp_path)
    page.generate()
    wait(page)
    assert "nowhere is not a bundle" in page.actions.alarm
    assert page.actions.enabled == ["generate"]


def test_a_folder_that_cannot_be_written_is_said_in_a_sentence(small, tmp_path):
    (tmp_path / "file").touch()
    page = ClinicianPage(small, tmp_path / "file", tmp_path)
    page.generate()
    wait(page)
    assert "Not made" in page.actions.alarm
    assert page.takes == []


def test_the_check_puts_warnings_and_misses_first(made):
    whole = made.kept.report
    first = next(i for i, verdict in enumerate(whole.verdicts) if verdict.verdict == "pass")
    spoiled = [replace(v, verdict="fail") if i == first else v
               for i, v in enumerate(whole.verdicts)]  # fmt: skip
    report = replace(whole, verdicts=tuple(spoiled))
    shown = check_html(report, ["Stop at any time."])
    missed = [v for v in report.verdicts if v.verdict == "fail"]
    assert shown.index("Stop at any time.") < shown.index("Missed: ") < shown.index("<table>")
    assert shown.count("✗</span></span>missed</td>") == len(missed)
    assert shown.rindex("missed</td>") < shown.index("✓</span></span>met</td>")


@pytest.mark.parametrize("formats", [("flac",), ("wav", "mp3", "opus")])
def test_an_export_is_one_zip_of_all(made, tmp_path, formats):
    take = made.kept
    archive = zipfile.ZipFile(export(take, formats, tmp_path / "new" / "take.zip"))
    assert archive.testzip() is None
    names = {name.removeprefix(f"{take.folder.name}/") for name in archive.namelist()}
    assert names == {"track.mid", "prescription.json", "report.json", "report.html", "label.html",
                     "manifest.json", *(f"track.{kind}" for kind in formats)}  # fmt: skip
    archive.extractall(tmp_path)
    exported = Take(tmp_path / take.folder.name)
    assert exported.prescription == take.prescription
    lengths = {audio.load(exported.folder / f"track.{kind}")[0].shape[1] / 48_000
               for kind in formats}  # fmt: skip
    assert all(abs(seconds - 24) < 0.2 for seconds in lengths)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["take.zip"]


def test_an_export_of_no_sound_or_an_unknown_one_is_refused(made, tmp_path):
    for formats in ((), ("ogg",)):
        with pytest.raises(ValueError, match="legal are flac, wav, mp3, opus"):
            export(made.kept, formats, tmp_path / "take.zip")
    assert not (tmp_path / "take.zip").exists()


def test_an_instrument_is_heard(page):
    heard = page._file("hear:harp")
    assert isinstance(heard, bytes)
    assert page._file("hear:kazoo") is None
    with pytest.raises(ValueError, match="legal are piano"):
        instrument_sound("kazoo")


def test_marks_are_where_the_tempo_turns_the_anchor_sounds_and_silence_begins():
    asked = prescribe("stress", 600, anchor=composed(3), anchor_at=(0.0, 0.5))
    found = marks(asked, plan(asked))
    names = [name for _, name in found]
    assert names.count("start") == 1
    assert [name for name in names if name.startswith("anchor")] == ["anchor 1", "anchor 2"]
    assert names[-1] == "silence"
    assert found[-1][0] == asked.music_s
    middle = next(at for at, name in found if name == "anchor 2")
    assert middle == pytest.approx(asked.music_s / 2, abs=12)
    bends = [asked.music_s * at for at, _ in asked.tempo_curve.points[1:-1]]
    turns = [at for at, name in found if name in ("slower", "tempo held")]
    assert turns == pytest.approx(bends, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"duration_s": 1200, "tempo": [84, 60], "key": "D", "instruments": ["piano", "strings"],
             "breaths_per_min": 6},
            "20 minutes, from 84 to 60 beats per minute, D major, piano and strings, 6 breaths a "
            "minute",
        ),
        ({"duration_s": 45}, "45 s, 72 beats per minute, any key, piano"),
        (
            {"duration_s": 90, "tempo": [[0, 80], [0.5, 60], [1, 76]], "mode": "minor",
             "instruments": ["warm_pad", "harp", "flute"], "final_silence_s": 5},
            "1 minute 30 s, from 80 to 60 to 76 beats per minute, any minor key, warm pad, harp "
            "and flute, the last 5 s silent",
        ),
    ],
)  # fmt: skip
def test_a_prescription_in_a_sentence(asked, said):
    assert describe(Prescription.from_dict(asked)) == said


def test_a_file_is_sent_in_the_parts_that_are_asked_for(tmp_path):
    whole = bytes(range(256)) * 3000
    (tmp_path / "sound.mp3").write_bytes(whole)
    sent: list[tuple[dict, list[bytes]]] = []
    for content in (whole, tmp_path / "sound.mp3"):
        sent.clear()
        sender = Sender({"a.mp3": content}.get)
        sender.send = lambda message, buffers=(): sent.append((message, list(buffers)))
        received = b""
        while len(received) < len(whole):
            sender._asked(None, {"want": "a.mp3", "at": len(received)}, [])
            received += sent[-1][1][0]
        assert received == whole
        assert all(len(parts[0]) <= PART_BYTES for _, parts in sent)
        assert sent[0][0]["mime"] == "audio/mpeg"
        sender._asked(None, {"want": "b.mp3", "at": 0}, [])
        assert sent[-1] == ({"file": "b.mp3", "at": 0, "total": None}, [])


# ---------------------------------------------------------------- session log


def test_a_session_is_logged_in_three_clicks(made):
    for name, value in ({"id": "P07"} | NO_TO_ALL).items():
        made._person_changed(name, value)
    logbook = made.logbook
    assert logbook.actions.enabled == ["save"]
    logbook.form.changed("suds_before", 7.0)
    logbook.form.changed("suds_after", 4.0)
    logbook.save()
    assert "Saved as session 1 of P07" in logbook.actions.text
    (session,) = Journal(logbook.folder, "P07").sessions()
    assert (session.suds_before, session.suds_after) == (7, 4)
    assert session.prescription == made.kept.prescription
    assert session.minutes == 0.35
    assert "<svg" in logbook.chart.value
    assert "SUDS 7 → 4" in logbook.chart.value
    logbook.form.changed("suds_before", 3.0)
    logbook.save()
    assert "legal are both or neither" in logbook.actions.alarm
    logbook.about("P08", False, logbook.prescription)
    assert not logbook.entered  # what was entered for one is nobody else's
    assert len(Journal(logbook.folder, "P07").sessions()) == 1


def test_a_damaged_journal_is_said_in_a_sentence(page):
    page.logbook.folder.mkdir(parents=True)
    (page.logbook.folder / "P09.sqlite").write_bytes(
        b"no database, but long enough for a header" * 9
    )
    page.logbook.about("P09", False, None)
    assert "the journal cannot be read" in page.logbook.chart.value


def test_two_takes_change_places(made):
    names = [take.folder.name for take in made._side_by_side()]
    made._compare_changed("0", names[1])
    assert [take.folder.name for take in made._side_by_side()] == names[::-1]
    made._compare_changed("1", names[1])
    assert [take.folder.name for take in made._side_by_side()] == names


def test_a_session_is_saved_once_for_each_time_something_is_entered(made):
    made._person_changed("id", "P11")
    made.logbook.save()
    assert made.logbook.actions.enabled == []
    made.logbook.form.changed("suds_before", 3.0)
    made.logbook.form.changed("suds_after", 2.0)
    assert made.logbook.actions.enabled == ["save"]


def test_a_track_that_is_opened_from_a_file_can_be_logged(page, small, tmp_path):
    heard = prescribe("sleep", 300, seed=4)
    page._person_changed("id", "P07")
    page._person_changed("likes", ["harp"])
    page._person_changed("dislikes", ["harp"])  # not possible, but the pseudonym is known
    assert "a track that is kept or opened" in page.logbook.actions.text
    page._manifest_given("manifest", "prescription.json", heard.to_json().encode())
    assert page.logbook.actions.enabled == ["save"]
    assert "P07 with the opened track" in page.logbook.actions.text
    anew = ClinicianPage(small, page.out, tmp_path / "journals")
    anew.keeper.found = {"visitor": page.visitor,
                         "draft": json.loads(json.dumps(page.keeper.draft))}  # fmt: skip
    assert anew.logbook.actions.enabled == ["save"]
    anew.logbook.save()
    (session,) = Journal(tmp_path / "journals", "P07").sessions()
    assert session.prescription == heard


def test_a_session_needs_a_listener_and_a_track(page):
    assert page.logbook.actions.enabled == []
    assert "a listener's pseudonym and a track that is kept" in page.logbook.actions.text
    page.logbook.save()
    assert not page.logbook.folder.exists()


# ---------------------------------------------------------------- course


def test_a_course_is_planned_made_stopped_gone_on_with_heard_and_exported(page, monkeypatch):
    short = Shape(name="two", title="Two days", weeks=1, days=(1, 3), hold=0.0, rest=0.0,
                  reason="a test", strength="E")  # fmt: skip
    monkeypatch.setattr(course, "shapes", lambda: {"two": short})
    panel = page.courses
    page.ask(minutes=0.2, best_of="1", instruments=["piano"])
    panel._changed("shape", "two")
    panel.plan()
    assert "day 1" in panel.calendar.value
    assert panel.calendar.value.count("planned") == 2
    assert panel.actions.enabled == ["plan", "make"]
    panel._changed("starts", "2026-12-01")
    panel.plan()
    assert "Tue 2026-12-01" in panel.calendar.value
    assert "Thu 2026-12-03" in panel.calendar.value
    panel._changed("starts", None)

    stepped = panel._stepped
    panel._stepped = lambda *step: (stepped(*step), panel.cancel())
    panel.make()
    wait(page)
    assert list(panel.made) == [1]
    assert "the days that are made stay" in panel.actions.text
    assert panel.folder is not None
    assert "day-01/" in (panel.folder / "calendar.html").read_text()
    first = (panel.made[1].folder / "track.mid").stat().st_mtime_ns

    panel._stepped = stepped
    panel.make()
    panel._changed("starts", "2026-12-01")  # counts for the next course
    wait(page)
    assert panel.actions.alarm == ""
    assert sorted(panel.made) == [1, 3]
    assert (panel.made[1].folder / "track.mid").stat().st_mtime_ns == first
    assert panel.calendar.value.count("✓ made") == 2
    panel.day.changed("day", "3")
    assert panel.player.name == "Day 3"
    sound = panel.player.find(panel.player.sound)
    assert audio.load(sound)[0].shape[1] / 48_000 == pytest.approx(15, abs=0.2)
    assert panel.player.find("day/9/x.mp3") is None
    panel.export()
    wait(page)
    archive = zipfile.ZipFile(page._file(page.keeper.download))
    names = {name.split("/", 1)[1] for name in archive.namelist()}
    assert {"calendar.html", "course.json", "day-01/track.flac", "day-03/label.html"} <= names
    assert not [name for name in names if "/." in f"/{name}"]


@pytest.mark.parametrize(
    ("name", "value", "said"), [("starts", "soon", "soon"), ("shape", "x", "legal are")]
)
def test_a_course_that_cannot_be_is_refused_in_a_sentence(page, name, value, said):
    page.courses._changed(name, value)
    page.courses.make()
    assert said in page.courses.calendar.value
    assert "role='alert'" in page.courses.calendar.value
    assert page.courses.job is None


# ---------------------------------------------------------------- served


def test_a_port_that_is_taken_is_passed_over():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        assert serve.free_port(taken) != taken
    with pytest.raises(ValueError, match="no port from 70000 on is free; legal are 1 to 65535"):
        serve.free_port(70_000)


def test_it_is_served_to_this_machine_only_with_a_token_and_no_files():
    told = serve.settings(8866, "secret", 10, browser=False)
    assert told["Voila"]["ip"] == "127.0.0.1"
    assert told["Voila"]["token"] == "secret"
    assert told["VoilaConfiguration"]["file_allowlist"] == []
    assert told["MappingKernelManager"]["cull_idle_timeout"] == 600
    for directive in serve.POLICY.split("; "):
        sources = directive.split()[1:]
        assert not [s for s in sources if s.startswith(("http:", "https:", "*"))]


def test_the_template_loads_nothing_from_elsewhere():
    for path in Path(serve.SHARE).rglob("*"):
        if path.is_file():
            assert "//" not in path.read_text().replace("https://jinja", "")
