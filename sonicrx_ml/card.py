"""The model card: what a release is, what it learned from, how, how well, and what it is bad at.

Everything it states comes from three mappings of JSON values: the facts of the run (kept in the
bundle's `config.json`), the data it read, and the results of an evaluation. What a run did not
record is said to be not recorded.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sonicrx_ml import __version__, tables
from sonicrx_ml.dataset import load_labels
from sonicrx_ml.labels import REMAINING_EDGES, Bins
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.recipe import DataConfig
from sonicrx_ml.statistics import Estimate

PACKAGES = ("torch", "lightning", "numpy", "miditok", "symusic", "datasets")

_WHAT = """\
A transformer that composes notes to a *sonic prescription*: asked, bar by bar, for tempo, mode,
density, polyphony, register, articulation, chromaticism, energy and who plays, each of which may be
left open, it continues a piece token by token. Key, tempo, duration, meter,
instruments and dynamics are made exact around it by `sonicrx_ml`.

It is **not a medical device**. It composes music to measurable properties; it claims no effect on
health, and nothing here has been tested on patients. Prescribing and listening are under the
responsibility of a clinician."""

_WEIGHTS = """\
A piece is drawn with a chance in proportion to `tokens^0.75 x source weight x calm^{calm:g}`, where
`calm = exp(-(p/2 + d + c/0.1)) / 2^f`; p is the mean number of notes sounding above 4, d the mean
onsets per beat above 2, c the mean share out of scale above 0.03, f the timbre families above 3.
Pieces whose bar lines mean nothing are not drawn."""

_LIMITS = """\
- It composes no dynamics, since those of most MIDI files cannot be trusted: velocities are written
  by rule.
- No percussion; at most one instrument of each of {families} timbre families.
- It attends to {context} tokens, some bars of dense music: motifs of long ago are forgotten, and
  the form of a long piece is carried by the prescription, not by repetition.
- Asked for what is seldom combined in what it learned from (in most music: a fast tempo and few
  notes, a very high register and many voices, much chromaticism in a calm piece) it follows less
  closely. The report that comes with each track says by how much.
- It may come close to a passage of its training data. Nothing prevents that while it composes;
  `scripts/evaluate.py` measures it over many tracks."""

# What is to be said of a known source, wherever it was used.
_SCORES = """\
- The scores it learned from are Western notated music, mostly of before 1930: other traditions,
  jazz, pop and everything that is not notated are rare in them or missing."""
_ETUDES = """\
- The etudes it learned from were composed from rules, not by people."""
_POP909 = """\
- The songs of pop909 are commercial pop in copyright; only its arrangements are MIT-licensed."""
_SAID_OF = dict.fromkeys(
    ("chopin_first_editions", "lilypond_repos", "mutopia", "openhymnal", "openscore_lieder",
     "openscore_orchestra", "openscore_quartets", "polish_scores"),
    _SCORES,
) | {"etudes": _ETUDES, "pop909": _POP909}  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of what composes and trains."""
    found = {"sonicrx_ml": __version__, "python": platform.python_version()}
    return found | {name: version(name) for name in PACKAGES}


def describe_data(config: DataConfig) -> dict[str, Any]:
    """What a prepared folder holds and how it is drawn from, as JSON values.

    Pieces, hours and notes are of the training split, per source; licences and authors to attribute
    are counted over it.
    """
    labels = load_labels(Path(config.prepared), "train")
    return {
        "sources": _sources(labels, config.source_weights),
        "licences": _counts(labels["licence"]),
        "tiers": _counts(labels["tier"]),
        "attributed": pc.count_distinct(labels["composer"]).as_py(),
        "attribution": (Path(config.prepared) / "attribution.csv").is_file(),
        "pieces": {s: load_labels(Path(config.prepared), s).num_rows for s in ("valid", "test")}
        | {"train": labels.num_rows},
        "source_weights": dict(config.source_weights),
        "calm": config.calm,
        "drop_attribute": config.drop_attribute,
        "drop_all": config.drop_all,
        "reorchestrate": config.reorchestrate,
        "divide": config.divide,
    }


def _sources(labels: pa.Table, weights: Mapping[str, float]) -> list[dict[str, Any]]:
    totals = labels.group_by("source").aggregate(
        [("n_notes", "count"), ("seconds", "sum"), ("n_notes", "sum"), ("n_tokens", "sum")]
    )
    rows = sorted(totals.to_pylist(), key=lambda row: -row["n_tokens_sum"])
    return [
        {
            "source": row["source"],
            "pieces": row["n_notes_count"],
            "hours": round(row["seconds_sum"] / 3600, 1),
            "notes": row["n_notes_sum"],
            "tokens": row["n_tokens_sum"],
            "weight": weights.get(row["source"], 1.0),
        }
        for row in rows
    ]


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    found = {row["values"]: row["counts"] for row in pc.value_counts(column).to_pylist()}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


# ---------------------------------------------------------------- the page


def model_card(
    facts: Mapping[str, Any], bins: Bins, results: Mapping[str, Any] | None = None
) -> str:
    """The card as Markdown.

    facts : of the run (`release.release` gathers them), with the `data` of `describe_data`.
    results : what `scripts/evaluate.py` wrote to `results.json`.
    """
    run, data = facts["run"], facts["data"]
    sections = {
        f"SonicRx {run['name']}": [_WHAT],
        "Data": _data_lines(data),
        "Sampling weights": [_WEIGHTS.format(calm=data["calm"]), *_weight_lines(data)],
        "Conditions": _condition_lines(bins, facts),
        "Training": _training_lines(facts),
        "Results": _result_lines(facts, results),
        "Limits": ["\n".join(_limit_lines(run["model"]["context"], data))],
    }
    blocks: list[str] = []
    for title, lines in sections.items():
        blocks += [f"{'##' if blocks else '#'} {title}", *lines]
    return "\n\n".join(blocks) + "\n"


def _data_lines(data: Mapping[str, Any]) -> list[str]:
    pieces = data["pieces"]
    counts = ", ".join(f"{name or 'unknown'} ({n})" for name, n in data["licences"].items())
    lines = [
        f"{pieces['train']:,} pieces to train on, {pieces['valid']:,} to validate and "
        f"{pieces['test']:,} to test, moved to C major or A minor. Tiers: "
        + ", ".join(f"{tier or 'none'} ({n:,} pieces)" for tier, n in data["tiers"].items())
        + ".",
        _table(list(data["sources"][0]),
               [[_grouped(value) for value in row.values()] for row in data["sources"]]),
        f"Licences, by pieces: {counts}. Composers and authors to attribute: "
        f"{data['attributed']:,}, named {_where_named(data)}.",
    ]  # fmt: skip
    if "b" in data["tiers"]:
        lines.append("**Tier b was used**: its licences may ask for more than attribution.")
    return lines


def _where_named(data: Mapping[str, Any]) -> str:
    if not data["attribution"]:
        return "with each piece in the prepared corpus's label table"
    return (
        "in `attribution.csv` beside this card: by source and licence, with the number of pieces, "
        "and with their titles where the licence asks for attribution. The pieces were moved to "
        "another key, cut and labelled, and nothing says that their authors endorse this"
    )


def _grouped(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _limit_lines(context: int, data: Mapping[str, Any]) -> list[str]:
    """Limits of every composer, after those of what this one learned from."""
    said = [_SAID_OF.get(row["source"]) for row in data["sources"]]
    general = _LIMITS.format(context=context, families=len(FAMILIES))
    return [*dict.fromkeys(filter(None, said)), general]


def _weight_lines(data: Mapping[str, Any]) -> list[str]:
    given = ", ".join(f"{name} {weight:g}" for name, weight in data["source_weights"].items())
    return [
        f"Source weights: {given or 'none given'}; every other source 1. In training each "
        f"attribute is hidden with chance {data['drop_attribute']:g}, all of them with "
        f"{data['drop_all']:g}; a piece sounds on other families with {data['reorchestrate']:g}, "
        f"its fullest family is shared out by role with {data['divide']:g}."
    ]


def _condition_lines(bins: Bins, facts: Mapping[str, Any]) -> list[str]:
    edges = [
        [name, len(row) + 1, ", ".join(f"{e:.4g}" for e in row)] for name, row in bins.edges.items()
    ]
    remaining = ", ".join(str(edge) for edge in REMAINING_EDGES)
    edges.append(["bars that remain", len(REMAINING_EDGES) + 1, remaining])
    return [
        "Told for every bar, and each but the bars that remain may be left open; the bins were "
        "fitted on the training split:",
        _table(["condition", "bins", "edges"], edges),
        "And for each timbre family whether a note of it begins in the bar. In training the mode "
        f"was told of bars {facts.get('mode_told', 'in any key')}.",
    ]


def _training_lines(facts: Mapping[str, Any]) -> list[str]:
    run, optim = facts["run"], facts["run"]["optim"]
    context = run["model"]["context"]
    padded = facts["windows"] * context
    rows = [
        ["parameters", f"{facts['parameters']:,}"],
        ["steps", f"{facts['steps']:,} of {optim['max_steps']:,}"],
        ["windows", f"{facts['windows']:,} of {context} tokens: {padded:,} tokens"],
        ["tokens seen, without padding", _recorded(facts["tokens"], "{:,.0f}")],
        ["hours of training", _recorded(facts["hours"], "{:.2f}")],
        *_runs_before(facts),
        ["hardware", _recorded(facts["hardware"], "{}")],
        ["precision", run["trainer"]["precision"]],
        ["optimiser", f"AdamW, rate {optim['lr']:g}, weight decay {optim['weight_decay']:g}, "
                      f"warm-up {optim['warmup_steps']} steps, cosine over the last "
                      f"{optim['decay']:.0%} of the others to {optim['final_lr']:g} of it"],
        ["software", ", ".join(f"{name} {v}" for name, v in facts["versions"].items())],
    ]  # fmt: skip
    return [_table(["", ""], rows)]


def _runs_before(facts: Mapping[str, Any]) -> list[list[str]]:
    """Of a run that began with the weights of others: what each of them was, the latest first."""
    rows: list[list[str]] = []
    for run in reversed(facts["before"]):
        counted = _recorded(run["steps"], "{:,}"), _recorded(run["tokens"], "{:,.0f}")
        said = f"{run['sha256'][:16]}: steps {counted[0]}, tokens {counted[1]}, hours "
        head = "which began with" if rows else "began with the weights"
        rows.append([head, said + _recorded(run["hours"], "{:.2f}")])
    return rows


def _recorded(value: Any, form: str) -> str:
    return "not recorded" if value is None else form.format(value)


def _result_lines(facts: Mapping[str, Any], results: Mapping[str, Any] | None) -> list[str]:
    valid = _recorded(facts["valid_nats_per_note"], "{:.3f} nats per note")
    lines = [f"Validation split: {valid}."]
    if results is None:
        return [*lines, "`scripts/evaluate.py` has not been run on this release."]
    about = ", ".join(f"{name} {value}" for name, value in results.get("about", {}).items())
    lines.append(f"From `scripts/evaluate.py`, with 95 % intervals. {about}".rstrip())
    if "likelihood" in results:
        nats = results["likelihood"]["nats_per_note"]
        rows = [[name, Estimate.from_dict(found)] for name, found in nats.items()]
        lines.append(_table(["nats per note", ""], rows))
    if "conformance" in results:
        columns = {
            name: {figure: Estimate.from_dict(found) for figure, found in column.items()}
            for name, column in results["conformance"].items()
        }
        lines += [
            tables.columns_note(columns),
            _table(["figure", *columns], tables.estimate_rows(columns)),
        ]
    return lines


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(tables.table(head, rows))
