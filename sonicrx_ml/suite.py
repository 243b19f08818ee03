"""A suite of prescriptions, made and judged: by every *column* (a way to make tracks), once a seed.

What is done is kept, and is not done again while nothing has changed that it depends on: the
prescription, the column, and the code that makes and judges. So a run that was stopped goes on.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
from rich.progress import track

from sonicrx_ml import audio
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import compose, produce
from sonicrx_ml.conformance import judge
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report

#: What makes and judges; all that these import of the package belongs to it, but what only shows.
MAKERS, SHOWING = ("baselines", "suite"), ("label", "report")

T = TypeVar("T")
Made: TypeAlias = tuple[bytes, Report]
"""The MIDI of a track, and what the judge found."""


@dataclass(frozen=True, slots=True)
class Column:
    """A way to make tracks: `make` gives one for each prescription, in order."""

    name: str
    identity: str
    """What its tracks depend on, beside the prescription and this package's code."""
    make: Callable[[Sequence[Prescription]], Sequence[Made]]
    takes: int = 1
    """Tracks that are made for each one that is kept."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A judged track; `entry` is its place in the suite, the same for every seed."""

    entry: int
    prescription: Prescription
    report: Report
    midi: Path
    """Its file, which need not be there where it has a sound, or failed, nor then be MIDI."""
    sound: Path | None = None
    """The file of the sound that was judged; None where there is none, or it was not kept."""


def composer_column(
    name: str, bundle: Bundle, sampling: SamplingConfig, sound: bool = False
) -> Column:
    """Tracks of a bundle, judged on their notes, or with `sound` on their rendering too.

    Raises `ValueError` where there is to be sound and $SONICRX_SOUNDFONT names no SoundFont.
    """

    def make(prescriptions: Sequence[Prescription]) -> list[Made]:
        found = compose(prescriptions, bundle, sampling)
        if sound:
            return [
                (c.midi, produce(c, bundle, sampling, psychoacoustics=True).report) for c in found
            ]
        return [(c.midi, judge(c.prescription, c.midi)) for c in found]

    player = audio.check() if sound else None
    identity = json.dumps([bundle.sha256, asdict(sampling), player])
    return Column(name, identity, make, sampling.best_of)


# ---------------------------------------------------------------- making and judging


def run(
    suite: Sequence[Prescription],
    column: Column,
    out: Path,
    seeds: Sequence[int] = (1,),
    batch_size: int = 16,
) -> list[Judged]:
    """Make and judge every prescription of a suite once per seed, longest first.

    A finished track is a line of `out/<column>.jsonl` and a file in `out/<column>/`; it is not
    made again while its prescription, the column's identity and the code (`code_sha256`) are the
    same.
    """
    wanted = [
        (entry, replace(prescription, seed=1000 * seed + entry))
        for seed in seeds
        for entry, prescription in enumerate(suite)
    ]
    key = functools.partial(key_of, column.identity)
    done = _read(out / f"{column.name}.jsonl")
    missing = [p for _, p in wanted if key(p) not in done]
    missing.sort(key=lambda p: -p.felt_beats / p.felt_beats_per_bar)
    size = max(1, batch_size // column.takes)
    batches = [missing[i : i + size] for i in range(0, len(missing), size)]
    for batch in track(batches, column.name, disable=not batches):
        for prescription, (midi, report) in zip(batch, column.make(batch), strict=True):
            _write(out, column, prescription, midi, report)
            done[key(prescription)] = report
    return [Judged(entry, p, done[key(p)], _midi_path(out, column, p)) for entry, p in wanted]


def spread(items: Sequence[T], limit: int) -> list[T]:
    """So many of the items, evenly spread (0: all)."""
    count = min(limit, len(items)) or len(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).astype(int)]


def key_of(identity: str, prescription: Prescription) -> str:
    """What a finished track is kept by: the code, what else makes it, and the prescription."""
    text = code_sha256() + identity + prescription.to_json()
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def whole_lines(path: Path) -> list[str]:
    """Lines of a file, none where it is not there; one that a kill cut short is taken out of it."""
    if not path.is_file():
        return []
    text = path.read_text()
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole)
    return whole.splitlines()


@functools.cache
def code_sha256() -> str:
    """SHA-256 of the sources and goals that tracks hang on: other code may make or judge otherwise.

    So a page can be mended without making tracks anew.
    """
    package = files("sonicrx_ml")
    names = ["goals.toml", *(f"{name}.py" for name in sorted(code_of(MAKERS)))]
    digests = [hashlib.sha256((package / name).read_bytes()).hexdigest() for name in names]
    named = [name + digest for name, digest in zip(names, digests, strict=True)]
    return hashlib.sha256("".join(named).encode()).hexdigest()


def code_of(modules: Sequence[str]) -> set[str]:
    """These modules of the package, and all that they import of it, but `SHOWING`."""
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found and name not in SHOWING:
            found.add(name)
            waiting += _imported((files("sonicrx_ml") / f"{name}.py").read_text())
    return found


def _imported(source: str) -> Iterator[str]:
    """Names of the package's modules that a module imports, anywhere in it."""
    present = {path.name.removesuffix(".py") for path in files("sonicrx_ml").iterdir()}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module == "sonicrx_ml":
            yield from (alias.name for alias in node.names if alias.name in present)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sonicrx_ml."):
            yield str(node.module).removeprefix("sonicrx_ml.")


def _write(
    out: Path, column: Column, prescription: Prescription, midi: bytes, report: Report
) -> None:
    path = _midi_path(out, column, prescription)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(midi)
    row = {
        "key": key_of(column.identity, prescription),
        "prescription": prescription.to_dict(),
        "report": report.to_dict(),
    }
    with (out / f"{column.name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def _midi_path(out: Path, column: Column, prescription: Prescription) -> Path:
    return out / column.name / f"{prescription.id}.mid"


def _read(path: Path) -> dict[str, Report]:
    """Finished tracks by key.

    Of a prescription only the last line counts, since its track replaced the earlier ones' MIDI.
    """
    rows = [json.loads(line) for line in whole_lines(path)]
    last = {row["report"]["prescription_id"]: row for row in rows}
    return {row["key"]: Report.from_dict(row["report"]) for row in last.values()}


__all__ = [
    "Column",
    "Judged",
    "Made",
    "code_of",
    "code_sha256",
    "composer_column",
    "key_of",
    "run",
    "spread",
    "whole_lines",
]
