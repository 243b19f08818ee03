"""The results of an evaluation as a folder, and back.

    results.json      every figure, by part, with its interval
    results.csv       the same, tidy: part, column, figure, value, low, high, n
    results.md        the same, as tables to read
    tracks.jsonl.gz   every judged track: column, entry, prescription, report, paths of its files

The parts, none of them required, are `about` (any JSON values), `likelihood` (see there), and by
column `conformance`, `sound`, `effects` and `failures` (`evaluation.by_column`) and `likeness`. The
CSV has the figures that others publish too, as a part of its own with a column per system.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

from sonicrx_ml import tables
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.published import PUBLISHED
from sonicrx_ml.statistics import Estimate
from sonicrx_ml.suite import Judged
from sonicrx_ml.verdicts import Report

FIELDS = ("part", "column", "figure", "value", "low", "high", "n")
Tracks: TypeAlias = Mapping[str, Sequence[Judged]]
"""The judged tracks of each column."""


@dataclass(frozen=True, slots=True)
class Results:
    """What `write` wrote."""

    parts: dict[str, Any]
    tracks: dict[str, list[Judged]]


def write(out: Path, parts: Mapping[str, Any], tracks: Tracks) -> Path:
    """Write the four files; returns the path of `results.md`."""
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(parts, indent=1, default=Estimate.to_dict, allow_nan=False)
    sheet = io.StringIO()
    table = csv.DictWriter(sheet, FIELDS, lineterminator="\n")
    table.writeheader()
    table.writerows(tidy(parts))
    lines = [_line(name, judged, out) for name, column in tracks.items() for judged in column]
    put(out / "tracks.jsonl.gz", gzip.compress("".join(lines).encode(), mtime=0))
    put(out / "results.csv", sheet.getvalue().encode())
    put(out / "results.json", (text + "\n").encode())
    return put(out / "results.md", tables.page(parts).encode())


def put(path: Path, data: bytes) -> Path:
    """Write a file whole or not at all; returns its path."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    return partial.replace(path)


def load(out: Path) -> Results:
    """Read a folder that `write` wrote. Raises `ValueError` where there are no results in it."""
    if not (out / "results.json").is_file():
        raise ValueError(
            f"{out} has no results.json; legal is a folder that scripts/evaluate.py left"
        )
    parts = json.loads((out / "results.json").read_text(), object_hook=_estimate)
    tracks: dict[str, list[Judged]] = {}
    for line in gzip.decompress((out / "tracks.jsonl.gz").read_bytes()).splitlines():
        row = json.loads(line)
        tracks.setdefault(row["column"], []).append(_judged(row, out))
    return Results(parts, tracks)


def tidy(parts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """One row per figure; what is not defined, or has no interval, is empty."""
    for part, found in parts.items():
        for path, value in _leaves(found) if part != "about" else ():
            turned = (path[-1], *path[:-1]) if part == "likelihood" else path
            yield _row(part, turned[0], ", ".join(turned[1:]) or "count", value)
    for one in PUBLISHED if "conformance" in parts else ():
        yield _row("published", one.system.name, one.figure, one.value)


def verdicts(tracks: Tracks) -> Iterator[dict[str, Any]]:
    """One row per verdict of every track: column, prescription, MIDI, failure, then `Verdict`."""
    for column, many in tracks.items():
        for judged in many:
            report = judged.report
            about = {"column": column, "prescription": report.prescription_id,
                     "goal": judged.prescription.goal, "midi": judged.midi.name,
                     "failure": report.failure}  # fmt: skip
            yield from (about | asdict(verdict) for verdict in report.verdicts)


def _row(part: str, column: str, figure: str, value: Estimate | float) -> dict[str, Any]:
    told = value.to_dict() if isinstance(value, Estimate) else {"value": value}
    return {"part": part, "column": column, "figure": figure} | told


def _leaves(
    found: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Estimate | float]]:
    """Every number below, with the names on the way to it."""
    if isinstance(found, Mapping):
        for name, value in found.items():
            yield from _leaves(value, (*path, name))
    elif isinstance(found, Estimate | int | float):
        yield path, found


def _estimate(values: dict[str, Any]) -> Any:
    """Undo `Estimate.to_dict`, and leave every other object as it is."""
    if set(values) != {"value", "low", "high", "n"}:
        return values
    return Estimate.from_dict(values)


def _line(column: str, judged: Judged, out: Path) -> str:
    row = {
        "column": column,
        "entry": judged.entry,
        "midi": os.path.relpath(judged.midi, out),
        "sound": judged.sound and os.path.relpath(judged.sound, out),
        "prescription": judged.prescription.to_dict(),
        "report": judged.report.to_dict(),
    }
    return json.dumps(row) + "\n"


def _judged(row: Mapping[str, Any], out: Path) -> Judged:
    return Judged(
        row["entry"],
        Prescription.from_dict(row["prescription"]),
        Report.from_dict(row["report"]),
        out / row["midi"],
        out / row["sound"] if row.get("sound") else None,
    )


__all__ = ["FIELDS", "Results", "Tracks", "load", "put", "tidy", "verdicts", "write"]
