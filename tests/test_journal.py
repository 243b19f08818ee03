"""The journal: nothing acknowledged is lost, nothing is changed, nothing illegal gets in."""

from __future__ import annotations

import csv
import dataclasses
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest

from sonicrx_ml import plots
from sonicrx_ml.goals import prescribe
from sonicrx_ml.hearing import CHILD
from sonicrx_ml.journal import Journal
from sonicrx_ml.listener import pseudonym
from sonicrx_ml.outcomes import before_after
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.session import FIGURES, Decision, Session, Shown, dose

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
ASKED = prescribe("anxiety", seed=7)

WRITER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from sonicrx_ml.goals import prescribe
from sonicrx_ml.journal import Journal
from sonicrx_ml.session import Session
asked = prescribe("anxiety")
for minutes in range(1, 700):
    session = Session(listener="L-1", prescription=asked, began=datetime.now(UTC),
                      minutes=minutes, level_db_spl=60, suds_before=6, suds_after=3)
    number = Journal(Path(sys.argv[1]), "L-1").append(session)
    print(number, minutes, flush=True)
"""


def session(**changes) -> Session:
    given: dict[str, Any] = {
        "listener": "L-1", "prescription": ASKED, "began": NOON, "minutes": 25,
        "level_db_spl": 62, "suds_before": 6, "suds_after": 3.5,
    }  # fmt: skip
    return Session(**given | changes)


@pytest.fixture
def journal(tmp_path) -> Journal:
    return Journal(tmp_path / "journals", "L-1")


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    """SIGKILL while rows are written: every acknowledged row is there, and none is half there."""
    kill_at = 17
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline() for _ in range(kill_at)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.stdout.readlines()
    assert writer.wait() == -signal.SIGKILL
    writer.stdout.close()

    entries = Journal(tmp_path, "L-1").entries()
    found = [(entry.number, entry.session.minutes) for entry in entries]
    told = [tuple(map(int, line.split())) for line in acknowledged if line.endswith("\n")]
    assert len(told) >= kill_at
    assert found[: len(told)] == told
    assert len(found) <= len(told) + 1  # one more may be written and not yet told
    assert all(entry.session.suds_after == 3 for entry in entries)
    with sqlite3.connect(tmp_path / "L-1.sqlite") as file:
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_every_commit_is_synced(journal):
    with journal._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL


def test_a_session_comes_back_as_it_was(journal):
    full = session(
        began=datetime(2026, 3, 2, 23, 30, 15, 999, tzinfo=timezone(timedelta(hours=2))),
        stopped="asleep", vas_before=71, vas_after=40, stai6_before=18, stai6_after=11,
        rmssd_before=31.5, rmssd_after=38, rmssd_seconds=300, breaths_before=14, breaths_after=9,
    )  # fmt: skip
    journal.append(full)
    assert journal.sessions() == [full]
    assert full.began.isoformat() == "2026-03-02T21:30:15+00:00"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"suds_before": 11}, "suds_before 11; legal are 0 to 10"),
        ({"suds_after": -0.5}, "suds_after -0.5; legal are 0 to 10"),
        ({"vas_before": 101, "vas_after": 3}, "vas_before 101; legal are 0 to 100 mm"),
        ({"stai6_before": 5, "stai6_after": 9}, "stai6_before 5; legal are 6 to 24"),
        ({"minutes": None}, "minutes None; legal are 0 to 720 min"),
        ({"minutes": float("nan")}, "minutes nan; legal are"),
        ({"level_db_spl": 130}, "level_db_spl 130; legal are 20 to 120 dB SPL"),
        ({"stopped": "bored"}, "stopped 'bored'; legal are finished, asleep"),
        ({"suds_after": None}, "suds_before and suds_after; legal are both or neither"),
        ({"rmssd_before": 30, "rmssd_after": 31}, "rmssd_before and rmssd_seconds; legal are both"),
        ({"began": datetime(2026, 3, 2)}, "began 2026-03-02T00:00:00; legal is a time with its"),
        ({"listener": "Anna Smith"}, "listener 'Anna Smith'; legal are pseudonyms"),
        ({"listener": "anna"}, "listener 'anna'; legal are pseudonyms"),
    ],
)
def test_what_is_illegal_is_refused_with_what_is_legal(changes, said):
    with pytest.raises(ValueError, match=said):
        session(**changes)


def test_no_more_is_heard_at_once_than_the_track_has():
    two_minutes = Prescription(duration_s=120)
    assert session(prescription=two_minutes, minutes=2.4).heard_once().minutes == 2.4
    with pytest.raises(ValueError, match=r"minutes 25; the track has 2: legal are 0 to that"):
        session(prescription=two_minutes, minutes=25).heard_once()


def test_the_file_refuses_what_is_out_of_range_too(journal):
    journal.append(session())
    columns = [name for name in _columns(journal.path) if name != "number"]
    chosen = ", ".join("11" if name == "suds_after" else name for name in columns)
    with (
        sqlite3.connect(journal.path) as file,
        pytest.raises(sqlite3.IntegrityError, match="suds_after BETWEEN 0 AND 10"),
    ):
        file.execute(f"INSERT INTO sessions ({', '.join(columns)}) SELECT {chosen} FROM sessions")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET minutes = 1",
        "DELETE FROM sessions",
        "INSERT OR REPLACE INTO sessions SELECT * FROM sessions WHERE number = 1",
        "UPDATE OR REPLACE sessions SET corrects = 1 WHERE number = 3",
        "DELETE FROM decisions",
        "UPDATE decisions SET decision = 'declined'",
    ],
)
def test_rows_cannot_be_changed(journal, change):
    journal.append(session())
    journal.append(session(minutes=20), corrects=1)
    journal.append(session(minutes=19))
    journal.decide(decision())
    before = journal.entries(), journal.decisions()
    file = sqlite3.connect(journal.path)
    with pytest.raises(sqlite3.IntegrityError, match="append-only: a correction is a new row"):
        file.execute(change)
    file.close()
    assert (journal.entries(), journal.decisions()) == before


def decision() -> Decision:
    return Decision(listener="L-1", by="C-3", decision="accepted", base=ASKED,
                    proposed=prescribe("anxiety", tempo=[80, 58]), words="slower")  # fmt: skip


def test_a_correction_is_a_new_row_that_holds_instead(journal):
    assert journal.append(session()) == 1
    assert journal.append(session(began=NOON + timedelta(days=1))) == 2
    assert journal.append(session(suds_after=2), corrects=1) == 3
    assert journal.withdraw(2) == 4
    assert [(e.number, e.corrects, e.withdrawn) for e in journal.entries()] == [
        (1, None, False), (2, None, False), (3, 1, False), (4, 2, True)
    ]  # fmt: skip
    assert journal.sessions() == [session(suds_after=2)]
    for number in (1, 2, 4, 9):
        with pytest.raises(ValueError, match=f"row {number} cannot be corrected; legal are 3"):
            journal.append(session(), corrects=number)
        with pytest.raises(ValueError, match=f"row {number} cannot be corrected; legal are 3"):
            journal.withdraw(number)


def test_sessions_come_in_the_order_in_which_they_were_heard(journal):
    for day in (2, 0, 1):
        journal.append(session(began=NOON + timedelta(days=day)))
    assert [s.began.day for s in journal.sessions()] == [2, 3, 4]


def test_a_journal_is_of_one_listener(journal):
    with pytest.raises(ValueError, match=r"listener 'L-2'; legal in .* is 'L-1'"):
        journal.append(session(listener="L-2"))
    with pytest.raises(ValueError, match=r"listener 'L-2'; legal in .* is 'L-1'"):
        journal.decide(dataclasses.replace(decision(), listener="L-2"))
    assert journal.path.name == "L-1.sqlite"


def test_decisions_are_kept_with_who_decided(journal):
    journal.decide(decision())
    assert Journal(journal.path.parent, "L-1").decisions() == [decision()]
    with pytest.raises(ValueError, match="by 'Dr House'; legal are pseudonyms"):
        dataclasses.replace(decision(), by="Dr House")
    with pytest.raises(ValueError, match="decision 'maybe'; legal are accepted, declined"):
        dataclasses.replace(decision(), decision="maybe")


def test_a_pseudonym_is_no_path():
    for name in ("../7", "a/7", "7.x", "", "-7", "L" * 32 + "7", 7):
        with pytest.raises(ValueError, match="legal are pseudonyms"):
            pseudonym(name, "listener")


def table(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_suggestions_and_decisions_have_tables_of_their_own(journal, tmp_path):
    journal.append(session())
    journal.show(Shown(listener="L-1", base=ASKED, proposed=ASKED, words="as before"))
    journal.decide(decision())
    sessions, suggestions, decisions = journal.export(tmp_path / "log.csv")
    assert [p.name for p in (sessions, suggestions, decisions)] == [
        "log.csv", "log.suggestions.csv", "log.decisions.csv"
    ]  # fmt: skip
    assert [row["number"] for row in table(suggestions)] == ["1"]
    assert [row["decision"] for row in table(decisions)] == [decision().decision]
    for row in (*table(suggestions), *table(decisions)):
        assert not {"words", "override"} & row.keys(), "they may tell of the screen"


def test_the_table_has_every_row_and_says_which_hold(journal, tmp_path):
    journal.append(session())
    journal.append(session(minutes=20, stopped="interrupted"), corrects=1)
    (written,) = journal.export(tmp_path / "out" / "log.csv")
    rows = table(written)
    assert [(row["number"], row["corrects"], row["holds"]) for row in rows] == [
        ("1", "", "0"), ("2", "1", "1")
    ]  # fmt: skip
    assert rows[1]["track"] == ASKED.id
    assert (rows[1]["goal"], rows[1]["seed"], rows[1]["minutes"]) == ("anxiety", "7", "20.0")
    assert set(FIGURES) <= rows[0].keys()


# ---------------------------------------------------------------- hearing


def test_the_dose_of_a_week():
    """ITU-T H.870: 80 dBA for 40 h is all of it, 83 dBA for 20 h too; 75 dBA for a child."""
    now = NOON + timedelta(days=7)
    hour = session(minutes=60, level_db_spl=80)
    assert dose([hour] * 40, NOON).share == pytest.approx(1)
    assert dose([session(minutes=60, level_db_spl=83)] * 20, NOON).share == pytest.approx(1)
    assert dose([session(minutes=60, level_db_spl=75)] * 40, NOON, CHILD).share == pytest.approx(1)
    assert dose([hour] * 40, now - timedelta(seconds=1)).hours == 40
    assert dose([hour], now).hours == 0  # seven days ago to the second
    assert dose([hour], NOON - timedelta(seconds=1)).hours == 0  # not yet heard


def test_the_dose_warns_before_it_is_full():
    hour = session(minutes=60, level_db_spl=80)
    assert dose([hour] * 31, NOON).warning is None
    assert "nearly used up: 80% in 32.0 h" in (dose([hour] * 32, NOON).warning or "")
    assert "is used up: 100% in 40.0 h" in (dose([hour] * 40, NOON).warning or "")


# ---------------------------------------------------------------- the chart


def test_the_chart_has_a_panel_for_each_scale_and_its_values():
    told = [session(), session(suds_before=None, suds_after=None, vas_before=80, vas_after=30)]
    figure = before_after(told)
    assert [axes.get_ylabel() for axes in figure.axes] == ["SUDS", "VAS, mm"]
    before, after = figure.axes[0].lines
    assert np.asarray(before.get_ydata())[0] == 6
    assert np.asarray(after.get_ydata())[0] == 3.5
    assert figure.axes[0].get_ylim()[0] <= 0
    assert figure.axes[0].get_ylim()[1] >= 10
    assert plots.svg(figure).lstrip().startswith("<?xml")


def test_without_ratings_there_is_no_chart():
    with pytest.raises(ValueError, match="no session has ratings to draw"):
        before_after([session(suds_before=None, suds_after=None)])


def _columns(path) -> list[str]:
    with sqlite3.connect(path) as file:
        return [row[1] for row in file.execute("PRAGMA table_info(sessions)")]
