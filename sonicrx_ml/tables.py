"""The results of an evaluation as `results.json` and, for readers, as Markdown tables.

A cell is a figure with its 95 % interval, then how many independent samples (prescriptions, works)
stand behind it. The sentences above a table say what its figures can and cannot show.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sonicrx_ml.statistics import Estimate

COLUMNS_NOTE = """\
Every column is performed alike: `perform` writes the tempo map, the meter, the transposition to the
asked tonic, the program of each family, articulation, dynamics (which make up for the energy that
notes lack) and the end, to which the last sound is held. So tempo, meter and duration are exact in
every column by writing. The column `raw` is bound only by the grammar of tokens: it leaves out the
rules on palette, bars, register, scale, cadence and endings."""
PUBLISHED_NOTE = """\
The published figures are from other data, another protocol and text prompts; tempo and key are
written here rather than composed."""
EFFECTS_NOTE = """\
Rank correlation over tracks, asked (rows) to realised. Mode in the column `raw` is the network's
own: the transposition to the asked tonic is written, but the mode is estimated among all 24 keys,
which no transposition changes. Tempo is written in every column, and so are the articulation and
the velocities, which the realised energy has in it. `energy as composed` has none of them, nor the
transposition: it is that of onsets per beat and register alone, in `raw` the network's own."""
LIKENESS_NOTE = """\
Beside the pieces of the test split, without tempo and in C major or A minor. Overlap area is 1
where generated pieces lie among real ones as these lie among themselves (Yang & Lerch 2020); AUC is
that of a classifier that tells them apart, .5 where it cannot (Lopez-Paz & Oquab 2017). A copied
run is the longest in one instrument's line that a piece of the training split has too, transposed
or in another tempo; the column `real` says what real pieces share with it."""
WORTH_NOTE = """\
The conditions that the composer is told are computed from the notes being predicted: the gain over
the n-gram is therefore that of the composer told nothing, as the n-gram is, and what being told
adds is what the prescription is worth. Intervals are over works."""

#: The best figures that others publish, and whose they are.
PUBLISHED = {
    "attributes met (ASA)": "0.776 MuseCoco",
    "tempo bin (TB)": "0.397 Text2midi",
    "tempo bin or neighbour (TBT)": "0.658 Text2midi",
    "key and mode (CK)": "0.336 Text2midi",
    "key or relative (CKD)": "0.356 Text2midi",
    "polyphony over bars (rho)": "0.88 MuseMorphose",
}


def write(out: Path, results: Mapping[str, Any]) -> Path:
    """Write `results.json` and `results.md`; returns the path of the latter.

    The parts of the results, none of them required, are `about` (any JSON values), `likelihood`
    (see there), and by column `conformance` (`figures`), `effects`, `likeness` and `failures`.
    """
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, indent=1, default=Estimate.to_dict, allow_nan=False)
    (out / "results.json").write_text(text + "\n")
    parts: dict[str, Callable[[Any], list[str]]] = {
        "about": _about_lines,
        "likelihood": _likelihood_lines,
        "conformance": _conformance_lines,
        "effects": _effects_lines,
        "likeness": _likeness_lines,
        "failures": _failure_lines,
    }
    blocks = [lines(results[name]) for name, lines in parts.items() if results.get(name)]
    page = out / "results.md"
    page.write_text("\n\n".join("\n".join(block) for block in blocks) + "\n")
    return page


def _about_lines(about: Mapping[str, Any]) -> list[str]:
    return ["# Evaluation", "", *table(["", ""], [[k, str(v)] for k, v in about.items()])]


def _likelihood_lines(found: Mapping[str, Any]) -> list[str]:
    names = list(found["nats_per_note"])
    rows = [["all", *map(str, found["nats_per_note"].values())]]
    rows += [[source, *map(str, row.values())] for source, row in found["by_source"].items()]
    gains = [f"- {name}: {gain} nats per note" for name, gain in found["gain"].items()]
    counts = ", ".join(f"{found[name]} {name}" for name in ("works", "pieces", "notes", "tokens"))
    about = f"{counts}. {WORTH_NOTE}"
    return ["## Nats per note", "", about, "", *gains, "", *table(["source", *names], rows)]


def _conformance_lines(columns: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [
        [name, *(_cell(column.get(name)) for column in columns.values()), PUBLISHED.get(name, "")]
        for name in names
    ]
    notes = [COLUMNS_NOTE, "", PUBLISHED_NOTE, ""]
    return ["## Conformance", "", *notes, *table(["figure", *columns, "published"], rows)]


def _cell(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate} ({estimate.n})"


def _effects_lines(columns: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> list[str]:
    lines = ["## What moves what", "", EFFECTS_NOTE]
    for name, effects in columns.items():
        rows = [[knob, *row.values()] for knob, row in effects.items()]
        realised = dict.fromkeys(name for row in effects.values() for name in row)
        lines += ["", f"### {name}", "", *table(["asked", *realised], rows)]
    return lines


def _likeness_lines(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Overlap area by feature, then AUC, novelty and diversity; a row each, a column each."""
    flat = {name: dict(_likeness_rows(found)) for name, found in columns.items()}
    names = dict.fromkeys(name for rows in flat.values() for name in rows)
    rows = [[name, *(_cell(column.get(name)) for column in flat.values())] for name in names]
    return ["## Likeness", "", LIKENESS_NOTE, "", *table(["figure", *flat], rows)]


def _likeness_rows(found: Mapping[str, Any]) -> Iterator[tuple[str, Estimate]]:
    for feature, row in found.get("features", {}).items():
        yield f"{feature}, overlap area", row["overlap"]
    if "two-sample AUC" in found:
        yield "two-sample AUC", found["two-sample AUC"]
    for part in ("novelty", "diversity"):
        yield from found.get(part, {}).items()


def _failure_lines(columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    rows = [[name, key, why] for name, found in columns.items() for key, why in found.items()]
    shown = table(["column", "prescription", "reason"], rows) if rows else ["None."]
    return ["## Failures", "", *shown]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, cells)) + " |" for cells in lines]


__all__ = ["table", "write"]
