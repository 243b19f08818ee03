"""The results of an evaluation, for readers, as Markdown tables.

A cell is a figure with its 95 % interval, then how many independent samples (prescriptions, works)
stand behind it. The sentences above a table say what its figures can and cannot show.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from sonicrx_ml import published
from sonicrx_ml.statistics import Estimate

#: The figures that matter most, by part.
HEADLINE = {
    "conformance": (
        "attributes met (ASA)", "failed", "tempo bin (TB)", "tempo bin or neighbour (TBT)",
        "tempo bin (TB) (sound)", "tempo bin or neighbour (TBT) (sound)", "tempo error, BPM",
        "tempo error, BPM (sound)", "key and mode (CK)", "key or relative (CKD)",
        "key and mode (CK) (sound)", "key or relative (CKD) (sound)", "instrument F1",
        "duration error, s", "energy over bars (rho)", "density over bars (rho)", "density NRMSE",
        "polyphony over bars (rho)", "register over bars (rho)", "articulation over bars (rho)",
        "other knobs moved (mean absolute rho)",
    ),
    "likeness": ("two-sample AUC", "two-sample AUC, lengths aside"),
}  # fmt: skip
COLUMNS_NOTE = """\
Every column is performed alike: `perform` writes the tempo map, the meter, the transposition to the
asked tonic, the program of each family, articulation, dynamics (which make up for the energy that
notes lack) and the end, to which the last sound is held. So tempo, meter and duration are exact in
every column by writing. The column `raw` is bound only by the grammar of tokens, and given its
meter tokens: it leaves out the rules on palette, bars, register, scale, cadence and endings.

The best of several takes is chosen phrase by phrase, by the judge's own rows on notes; of key and
mode by a kin of the finder that tells CK and CKD, with other figures. So of what is chosen CK and
CKD are no stranger's opinion: `key passes` and `mode passes` are those of a finder that does not
choose, and CK and CKD of the sound those of its kin."""
TRACKS_NOTE = """\
The column `tracks` is another system's: nothing in it was written, performed or chosen by ours."""
PUBLISHED_NOTE = """\
The published figures are from other data, another protocol and text prompts."""
SOUND_NOTE = """\
Means over tracks of what was measured on their sound, judged or not; what is flagged as not clear,
or not meant for so short a track, is left out. Figures in sone, phon, acum, asper, vacil and dBA
are apart for every level named, at which a track of -23 LUFS is played. A week has 168 hours."""
EFFECTS_NOTE = """\
Rank correlation over tracks, asked (rows) to realised: the diagonal is control, what lies beside it
is how much one knob moves another. The mode is estimated among all 24 keys, which no transposition
changes. `energy as composed` is that of onsets per beat and register alone, played at 80 BPM."""
COLUMNS_EFFECTS_NOTE = """\
Mode in the column `raw` is the network's own, since what is written is the transposition. Tempo is
written in every column, and so are the articulation and the velocities, which the realised energy
has in it; `energy as composed` has none of them: in `raw` it is the network's own."""
LIKENESS_NOTE = """\
Beside the pieces of the test split, without tempo and in C major or A minor. Overlap area is 1
where generated pieces lie among real ones as these lie among themselves (Yang & Lerch 2020); AUC is
that of a classifier that tells them apart, .5 where it cannot (Lopez-Paz & Oquab 2017). How long
notes are held is written by performance, and real scores are not performed: `lengths aside` leaves
out articulation, note lengths and polyphony. The column `retrieved` is real pieces performed as
ours are, and says what is left of that. A copied run is the longest in one instrument's line that a
piece of the training split has too, transposed or in another tempo; the column `real` says what
real pieces share with it."""
WORTH_NOTE = """\
The conditions that the composer is told are computed from the notes being predicted: the gain over
the n-gram is therefore that of the composer told nothing, as the n-gram is, and what being told
adds is what the prescription is worth. Intervals are over works."""


def page(parts: Mapping[str, Any]) -> str:
    """A Markdown page of the parts of some results (see `results`), none of them required."""
    sections: dict[str, Callable[[Any], list[str]]] = {
        "about": _about_lines,
        "likelihood": _likelihood_lines,
        "conformance": _conformance_lines,
        "sound": _sound_lines,
        "effects": _effects_lines,
        "likeness": _likeness_lines,
        "failures": _failure_lines,
    }
    blocks = [lines(parts[name]) for name, lines in sections.items() if parts.get(name)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def summary(parts: Mapping[str, Any]) -> str:
    """The figures that matter most, without their intervals, in columns for a terminal."""
    lines = []
    if "likelihood" in parts:
        found = parts["likelihood"]["nats_per_note"]
        told = (f"{name} {estimate.value:.3g}" for name, estimate in found.items())
        lines.append("nats per note: " + ", ".join(told))
    if rows := [[name, *map(_value, found)] for name, found in headline(parts)]:
        lines += _aligned([["", *parts["conformance"]], *rows])
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table of plain text: names to the left, figures to the right."""
    first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
    return ["  ".join([name.ljust(first), *map(str.rjust, cells, others)]) for name, *cells in rows]


def headline(parts: Mapping[str, Any]) -> Iterator[tuple[str, list[Estimate | None]]]:
    """Each of the `HEADLINE` figures that somebody was asked for, by column."""
    columns = list(parts.get("conformance", {}))
    for part, names in HEADLINE.items():
        found = parts.get(part, {})
        for name in names:
            estimates = [found.get(column, {}).get(name) for column in columns]
            if any(estimate is not None and estimate.n for estimate in estimates):
                yield name, estimates


def _value(estimate: Estimate | None) -> str:
    if estimate is None or not estimate.n:
        return ""
    return str(estimate).partition(" [")[0]


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
    rows = [[*row, "; ".join(published.beside(row[0]))] for row in estimate_rows(columns)]
    listed = (f"- {note}" for note in published.notes())
    notes = [columns_note(columns), "", PUBLISHED_NOTE, "", *listed, ""]
    return ["## Conformance", "", *notes, *table(["figure", *columns, "published"], rows)]


def _sound_lines(columns: Mapping[str, Mapping[str, Estimate]]) -> list[str]:
    rows = estimate_rows(columns)
    return ["## The sound", "", SOUND_NOTE, "", *table(["figure", *columns], rows)]


def estimate_rows(columns: Mapping[str, Mapping[str, Estimate]]) -> list[list[str]]:
    """Every figure that somebody was asked for, by column (the others are in results.csv)."""
    names = dict.fromkeys(
        name for column in columns.values() for name, found in column.items() if found.n
    )
    return [[name, *(_cell(column.get(name)) for column in columns.values())] for name in names]


def columns_note(columns: Collection[str]) -> str:
    """What the columns have in common."""
    return TRACKS_NOTE if "tracks" in columns else COLUMNS_NOTE


def _cell(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate} ({estimate.n})"


def _effects_lines(columns: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> list[str]:
    about = [EFFECTS_NOTE, COLUMNS_EFFECTS_NOTE] if "tracks" not in columns else [EFFECTS_NOTE]
    lines = ["## What moves what", "", *about]
    for name, effects in columns.items():
        rows = [[knob, *row.values()] for knob, row in effects.items()]
        realised = dict.fromkeys(name for row in effects.values() for name in row)
        lines += ["", f"### {name}", "", *table(["asked", *realised], rows)]
    return lines


def _likeness_lines(columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    head, rows = likeness_rows(columns)
    return ["## Likeness", "", LIKENESS_NOTE, "", *table(head, rows)]


def likeness_rows(columns: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows: AUC, novelty, diversity, then by feature mean, overlap and divergence.

    A mean stands with the standard deviation over pieces, beside that of the real pieces.
    """
    flat = {name: dict(_likeness_cells(found)) for name, found in columns.items()}
    for compared in [found["features"] for found in columns.values() if "features" in found][:1]:
        flat.setdefault("real", {}).update(_means(compared, "real"))
    names = dict.fromkeys(name for cells in flat.values() for name in cells)
    rows = [[name, *(cells.get(name, "") for cells in flat.values())] for name in names]
    return ["figure", *flat], rows


def _likeness_cells(found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    aucs = {name: value for name, value in found.items() if name.startswith("two-sample AUC")}
    for part in (aucs, found.get("novelty", {}), found.get("diversity", {})):
        yield from ((name, _cell(value)) for name, value in part.items())
    features = found.get("features", {})
    yield from _means(features, "generated")
    for title, kind in (("overlap area", "overlap"), ("KL divergence, nats", "divergence")):
        yield from ((f"{feature}, {title}", _cell(row[kind])) for feature, row in features.items())


def _means(features: Mapping[str, Any], whose: str) -> Iterator[tuple[str, str]]:
    for feature, row in features.items():
        if whose in row:
            yield f"{feature}, mean ± sd", f"{row[whose].value:.3g} ± {row[whose + ' sd']:.2g}"


def _failure_lines(columns: Mapping[str, Mapping[str, str]]) -> list[str]:
    rows = [[name, key, why] for name, found in columns.items() for key, why in found.items()]
    shown = table(["column", "track", "reason"], rows) if rows else ["None."]
    return ["## Failures", "", *shown]


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table; a `|` within a cell is escaped, a line break becomes a blank."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_escaped, cells)) + " |" for cells in lines]


def _escaped(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


__all__ = ["columns_note", "headline", "likeness_rows", "page", "summary", "table"]
