"""The journal of a listener: what was heard and how it went, session by session, append-only.

One SQLite database per listener, named by the pseudonym: to erase a person is to delete the files
`<pseudonym>.*`. A row
is never changed: a correction or a withdrawal is a new row that refers to the old one, and triggers
in the file refuse everything else. `append` returns when the row is on the disk (write-ahead log,
synced at every commit), so what it has acknowledged outlives a killed process and a power cut, and
what it has not is there whole or not at all. Keep the folder on a local disk: SQLite's write-ahead
log does not work over a network.

There is no free text, hence no place for a name.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateTable

from sonicrx_ml.listener import pseudonym
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.session import FIGURES, REQUIRED, STOPPED, Decision, Entry, Session, Shown

# ---------------------------------------------------------------- tables

_METADATA = sa.MetaData()
_SESSIONS = sa.Table(
    "sessions",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("corrects", sa.ForeignKey("sessions.number"), unique=True),
    sa.Column("withdrawn", sa.Boolean, nullable=False),
    sa.Column("logged", sa.Text, nullable=False),
    sa.Column("listener", sa.Text, nullable=False),
    sa.Column("began", sa.Text, nullable=False),
    sa.Column("track", sa.Text, nullable=False),  # id, goal and seed of the prescription,
    sa.Column("goal", sa.Text),  # for who reads the file by other means
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("stopped", sa.Text, sa.CheckConstraint(f"stopped IN {STOPPED}"), nullable=False),
    *(
        sa.Column(
            name,
            sa.Float,
            sa.CheckConstraint(f"{name} BETWEEN {legal.low} AND {legal.high}"),
            nullable=name not in REQUIRED,
        )
        for name, legal in FIGURES.items()
    ),
    sa.Column("prescription", sa.Text, nullable=False),
    sqlite_autoincrement=True,
)
_DECISIONS = sa.Table(
    "decisions",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("logged", sa.Text, nullable=False),
    *(sa.Column(f.name, sa.Text, nullable=False) for f in dataclasses.fields(Decision)),
    sqlite_autoincrement=True,
)
_SUGGESTIONS = sa.Table(
    "suggestions",
    _METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("logged", sa.Text, nullable=False),
    *(sa.Column(f.name, sa.Text, nullable=f.name == "override") for f in dataclasses.fields(Shown)),
    sqlite_autoincrement=True,
)
_PRIVATE = ("words", "override")  # of suggestions and decisions: not exported
# REPLACE deletes rows without asking the triggers on deletion, so what it would replace is refused.
_TAKEN = {
    "sessions": "number = NEW.number OR corrects = NEW.corrects",
    "decisions": "number = NEW.number",
    "suggestions": "number = NEW.number",
}


def _triggers(table: str) -> Iterable[str]:
    refuse = "BEGIN SELECT RAISE(ABORT, 'append-only: a correction is a new row'); END"
    taken = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {_TAKEN[table]})"
    for verb, when in (("UPDATE", ""), ("DELETE", ""), ("INSERT", taken)):
        name = f"{table}_{verb.lower()}"
        yield f"CREATE TRIGGER IF NOT EXISTS {name} BEFORE {verb} ON {table} {when} {refuse}"


def _engine(path: Path) -> sa.Engine:
    """Connections that sync at every commit; none is kept, so the file is whole between calls."""
    url = sa.URL.create("sqlite", database=str(path))
    engine = sa.create_engine(url, poolclass=NullPool, connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


# ---------------------------------------------------------------- the journal


class Journal:
    """The journal of one listener: `<folder>/<listener>.sqlite`, made where it is missing."""

    @staticmethod
    def file(folder: Path, listener: str) -> Path:
        """Where the journal of a listener is. Raises `ValueError` for what is no pseudonym."""
        return folder / f"{pseudonym(listener, 'listener')}.sqlite"

    def __init__(self, folder: Path, listener: str) -> None:
        self.path = self.file(folder, listener)
        self.listener = listener
        folder.mkdir(parents=True, exist_ok=True)
        self._engine = _engine(self.path)
        with self._engine.begin() as connection:
            for table in _METADATA.sorted_tables:
                connection.execute(CreateTable(table, if_not_exists=True))
                for trigger in _triggers(table.name):
                    connection.execute(sa.text(trigger))

    def append(self, session: Session, corrects: int | None = None) -> int:
        """Write a session down, or what an earlier row should have said; the row's number.

        It is on the disk when this returns. Raises `ValueError` for another listener's session and
        for a row to correct that is not there or was corrected before.
        """
        return self._insert(session, corrects, withdrawn=False)

    def withdraw(self, number: int) -> int:
        """Take a row back, by a new row that says so; the new row's number."""
        found = [entry.session for entry in self.current() if entry.number == number]
        if not found:
            self._refuse(number)
        return self._insert(found[0], number, withdrawn=True)

    def _insert(self, session: Session, corrects: int | None, withdrawn: bool) -> int:
        self._check_owner(session.listener)
        if corrects is not None and corrects not in {entry.number for entry in self.current()}:
            self._refuse(corrects)
        about = {"corrects": corrects, "withdrawn": withdrawn}
        return self._write(_SESSIONS, _row(session) | about)

    def show(self, shown: Shown) -> int:
        """Write down a suggestion before it is shown; its number, to decide on it later."""
        self._check_owner(shown.listener)
        return self._write(_SUGGESTIONS, _suggested(shown))

    def shown(self, number: int | None = None) -> Shown:
        """A suggestion as it was shown, by default the latest.

        Raises `ValueError` that lists the numbers there are.
        """
        found = {row.number: row._asdict() for row in self._rows(_SUGGESTIONS)}
        chosen = max(found, default=0) if number is None else number
        if chosen not in found:
            legal = ", ".join(map(str, found)) or "none yet"
            raise ValueError(f"suggestion {chosen} was not shown; legal are {legal}")
        return Shown(**_read(found[chosen], Shown))

    def decide(self, decision: Decision) -> int:
        """Write down what a person did with a suggestion; the row's number."""
        self._check_owner(decision.listener)
        return self._write(_DECISIONS, _suggested(decision))

    def _write(self, table: sa.Table, row: dict[str, Any]) -> int:
        logged = datetime.now(UTC).isoformat(timespec="seconds")
        with self._engine.begin() as connection:
            done = connection.execute(sa.insert(table).values(row | {"logged": logged}))
            key = done.inserted_primary_key
        assert key is not None
        return int(key[0])

    def entries(self) -> list[Entry]:
        """Every row, in the order of writing."""
        return [_entry(row._asdict()) for row in self._rows(_SESSIONS)]

    def current(self) -> list[Entry]:
        """The rows that hold: neither corrected nor withdrawn, by the time they began."""
        entries = self.entries()
        replaced = {entry.corrects for entry in entries}
        held = [e for e in entries if e.number not in replaced and not e.withdrawn]
        return sorted(held, key=lambda entry: (entry.session.began, entry.number))

    def sessions(self) -> list[Session]:
        """The sessions that hold, in the order in which they were heard."""
        return [entry.session for entry in self.current()]

    def decisions(self) -> list[Decision]:
        """What was decided on suggestions, in the order of writing."""
        return [_decision(row._asdict()) for row in self._rows(_DECISIONS)]

    def export(self, path: Path) -> list[Path]:
        """CSV files of every row: sessions, where `holds` is 0 for one that was corrected or
        withdrawn; beside it, where there are any, `*.suggestions.csv` and `*.decisions.csv`.

        Their words and overrides, which may tell of the screen, stay in the journal.
        """
        held = {entry.number for entry in self.current()}
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = ([*row, int(row.number in held)] for row in self._rows(_SESSIONS))
        written = [_write_csv(path, [*_SESSIONS.c.keys(), "holds"], rows)]
        for table in (_SUGGESTIONS, _DECISIONS):
            names = [column.name for column in table.c if column.name not in _PRIVATE]
            if found := [row._asdict() for row in self._rows(table)]:
                beside = path.with_name(f"{path.stem}.{table.name}{path.suffix}")
                cells = ([row[name] for name in names] for row in found)
                written.append(_write_csv(beside, names, cells))
        return written

    def _rows(self, table: sa.Table) -> Sequence[sa.Row[Any]]:
        """All of a table, in the order of writing."""
        with self._engine.connect() as connection:
            return connection.execute(sa.select(table).order_by(table.c.number)).all()

    def _check_owner(self, listener: str) -> None:
        if listener != self.listener:
            raise ValueError(f"listener {listener!r}; legal in {self.path} is {self.listener!r}")

    def _refuse(self, number: int) -> None:
        legal = ", ".join(str(entry.number) for entry in self.current()) or "none yet"
        raise ValueError(f"row {number} cannot be corrected; legal are {legal}")


def _write_csv(path: Path, names: Iterable[str], rows: Iterable[Iterable[Any]]) -> Path:
    """Whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
    return partial.replace(path)


def _row(session: Session) -> dict[str, Any]:
    asked = session.prescription
    row = {f.name: getattr(session, f.name) for f in dataclasses.fields(session)}
    told = {"track": asked.id, "goal": asked.goal, "seed": asked.seed}
    return row | told | {"began": session.began.isoformat(), "prescription": asked.to_json()}


def _entry(row: dict[str, Any]) -> Entry:
    values = {f.name: row[f.name] for f in dataclasses.fields(Session)}
    values["began"] = datetime.fromisoformat(row["began"])
    values["prescription"] = Prescription.from_json(row["prescription"])
    about = {name: row[name] for name in ("number", "corrects", "withdrawn")}
    logged = datetime.fromisoformat(row["logged"])
    return Entry(session=Session(**values), logged=logged, **about)


def _decision(row: dict[str, Any]) -> Decision:
    return Decision(**_read(row, Decision))


def _read(row: dict[str, Any], kind: type[Shown | Decision]) -> dict[str, Any]:
    values = {f.name: row[f.name] for f in dataclasses.fields(kind)}
    return values | {name: Prescription.from_json(row[name]) for name in ("base", "proposed")}


def _suggested(about: Shown | Decision) -> dict[str, Any]:
    row = {f.name: getattr(about, f.name) for f in dataclasses.fields(about)}
    return row | {"base": about.base.to_json(), "proposed": about.proposed.to_json()}
