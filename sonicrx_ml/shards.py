"""MIDI files -> Parquet shards of tokens and labels.

One pure function (`prepare_piece`) per file and one (`_write_shard`) per shard: the same input
gives the same bytes on any number of processes, a finished shard is skipped, and a killed run
resumes.

A prepared folder holds `shards/{split}-{number}.parquet` (a row per piece: identity, key, tokens,
`bar_start`, a list per attribute with a value per bar, and how many notes were left out and why),
`labels.parquet` (a row per piece), `attribution.csv` (who made each piece, for whoever ships what
learned from them), `bins.json`, `vocabulary.json`, `quarantine.csv`, `report.json`, `report.md`.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import track

from sonicrx_ml import attributes, canonical, etudes, keys, tables, tokens
from sonicrx_ml.corpus import SPLITS, Entry, Refusal, list_corpus
from sonicrx_ml.labels import CONDITIONS, Bins
from sonicrx_ml.notes import MidiError, Notes, read_midi

FORMAT = 2  # raise when rows change meaning: old shards are then made again
SHARD_SIZE = 256
MIN_NOTES, MIN_BARS = 8, 2
ATTRIBUTION = ("file", "title", "composer", "source", "licence", "split")
BAR_CATEGORIES = tuple(f"bar_{attribute.name}" for attribute in attributes.CATEGORIES)
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Job:
    root: Path
    path: Path
    entries: tuple[Entry, ...]
    fingerprint: str


def prepare(
    root: Path,
    out: Path,
    manifest: Path | None = None,
    tiers: Collection[str] = ("a",),
    workers: int | None = None,
) -> Row:
    """Prepare a corpus into `out`, on `workers` processes (default: one a core).

    Returns the report, and under "run" what only this run knows: the files that it read (those of
    shards not yet finished), its seconds, and files a second; the folder, which is the same for the
    same input, has no times in it. Raises `ValueError` as `list_corpus` does, and where no piece of
    the training split can be used.
    """
    begin = time.perf_counter()
    entries, refused = list_corpus(root, manifest, tiers)
    vocabulary = tokens.Vocabulary.build()
    jobs = list(_jobs(root, out / "shards", entries, vocabulary))
    (out / "shards").mkdir(parents=True, exist_ok=True)
    _remove_strangers(out / "shards", {job.path for job in jobs})
    pending = [job for job in jobs if not _is_done(job)]
    _write_shards(pending, min(workers or os.cpu_count() or 1, len(pending)))
    for job in jobs:
        refused += [Refusal(*pair) for pair in _metadata(job.path)["refused"]]
    report = _write_summary(out, [job.path for job in jobs], refused, vocabulary)
    files, seconds = sum(len(job.entries) for job in pending), time.perf_counter() - begin
    return report | {"run": {"files": files, "seconds": seconds, "files_per_s": files / seconds}}


def prepare_etudes(out: Path, count: int) -> None:
    """The embedded corpus, composed and prepared, unless `out` is prepared already.

    It appears there when it is whole; of several processes at once, the first to finish wins.
    """
    if (out / "bins.json").is_file():
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        made = Path(folder) / out.name
        etudes.write_corpus(made / "midi", count)
        prepare(made / "midi", made, made / "midi" / "manifest.csv")
        try:
            made.rename(out)
        except OSError:
            if not (out / "bins.json").is_file():
                raise


def prepare_piece(notes: Notes, entry: Entry, vocabulary: tokens.Vocabulary) -> Row:
    """One row of a shard. Raises `MidiError` where the piece cannot be used."""
    read = canonical.simplify_meters(notes)
    notes = canonical.playable(read)
    key = keys.estimate_key(notes)
    moved = canonical.into_range(notes.transpose(key.to_canonical))
    bars = moved.bars()
    grid = canonical.snap(moved, bars)
    if len(grid) < MIN_NOTES or len(bars) < MIN_BARS:
        raise MidiError(
            f"{len(grid)} notes in {len(bars)} bars; legal are {MIN_NOTES} in {MIN_BARS}"
        )
    snapped = canonical.unsnap(grid, bars, moved.tempo)
    values = attributes.measure(
        snapped,
        bars,
        mode=key.mode,
        tempo_known=_tempo_known(notes) if entry.tempo_known is None else entry.tempo_known,
        bars_known=entry.bars_known is not False,
    )
    ids, bar_start = tokens.encode(grid, vocabulary)
    return {
        **{name: value for name, value in asdict(entry).items() if not name.endswith("_known")},
        "tonic": key.tonic,
        "key_mode": key.mode,
        "key_confidence": key.confidence,
        "families": np.unique(grid.family),
        "seconds": notes.end_seconds,
        "n_notes": len(grid),
        "tokens": ids,
        "bar_start": bar_start.astype(np.int32),
        **{f"n_{why}": n for why, n in canonical.losses(read, moved, bars, grid).items()},
        **{name: value.astype(np.float32) for name, value in values.items()},
        **{f"bar_{name}": v for name, v in attributes.categorise(snapped, bars).items()},
    }


def _tempo_known(notes: Notes) -> bool:
    """Without a manifest: a lone 120 BPM is MIDI's default, so it tells nothing."""
    return len(notes.tempo.bpm) > 1 or abs(notes.tempo.bpm[0] - 120.0) > 0.01


def _jobs(
    root: Path, folder: Path, entries: list[Entry], vocabulary: tokens.Vocabulary
) -> Iterator[_Job]:
    for split in SPLITS:
        mine = [entry for entry in entries if entry.split == split]
        for number, start in enumerate(range(0, len(mine), SHARD_SIZE)):
            chunk = tuple(mine[start : start + SHARD_SIZE])
            text = json.dumps([FORMAT, vocabulary.fingerprint, [asdict(entry) for entry in chunk]])
            fingerprint = hashlib.sha256(text.encode()).hexdigest()
            yield _Job(root, folder / f"{split}-{number:05d}.parquet", chunk, fingerprint)


def _remove_strangers(folder: Path, wanted: set[Path]) -> None:
    """Shards of an earlier, larger corpus would be read along; unfinished ones are of no use."""
    for path in folder.iterdir():
        if path not in wanted:
            path.unlink()


def _is_done(job: _Job) -> bool:
    return job.path.is_file() and _metadata(job.path)["fingerprint"] == job.fingerprint


def _metadata(path: Path) -> Row:
    metadata: Row = json.loads(pq.read_metadata(path).metadata[b"sonicrx"])
    return metadata


def _write_shards(jobs: Sequence[_Job], workers: int) -> None:
    if workers < 2:
        for job in track(jobs, "prepare"):
            _write_shard(job)
        return
    with ProcessPoolExecutor(workers) as pool:
        for _ in track(pool.map(_write_shard, jobs), "prepare", total=len(jobs)):
            pass


def _write_shard(job: _Job) -> None:
    vocabulary = tokens.Vocabulary.build()
    rows: list[Row] = []
    refused: list[tuple[str, str]] = []
    for entry in job.entries:
        try:
            rows.append(prepare_piece(read_midi(job.root / entry.file), entry, vocabulary))
        except MidiError as error:
            refused.append((entry.file, str(error)))
    metadata = json.dumps({"fingerprint": job.fingerprint, "refused": refused})
    table = pa.Table.from_pylist(rows, schema=_schema()).replace_schema_metadata(
        {"sonicrx": metadata}
    )
    partial = job.path.with_suffix(".partial")
    with pq.ParquetWriter(partial, table.schema, compression="zstd") as writer:
        if rows:  # `datasets` cannot read a row group without rows
            writer.write_table(table)
    partial.replace(job.path)


def _schema() -> pa.Schema:
    text = ("file", "sha1", "split", "group", "source", "tier", "licence", "title", "composer")
    return pa.schema(
        [
            *((name, pa.string()) for name in text),
            ("tonic", pa.int8()),
            ("key_mode", pa.string()),
            ("key_confidence", pa.float32()),
            ("families", pa.list_(pa.int8())),
            ("seconds", pa.float32()),
            ("n_notes", pa.int32()),
            ("tokens", pa.list_(pa.uint16())),
            ("bar_start", pa.list_(pa.int32())),
            *((f"n_{why}", pa.int32()) for why in canonical.LOSSES),
            *((name, pa.list_(pa.float32())) for name in attributes.NAMES),
            *((name, pa.list_(pa.int16())) for name in BAR_CATEGORIES),
        ]
    )


def _write_summary(
    out: Path, shards: list[Path], refused: list[Refusal], vocabulary: tokens.Vocabulary
) -> Row:
    reasons = sorted((refusal.file, refusal.reason) for refusal in refused)
    _write_csv(out / "quarantine.csv", ["file", "reason"], reasons)
    labels = pa.concat_tables(_label_table(path) for path in shards)
    if "train" not in labels["split"].to_pylist():
        raise ValueError(
            f"no piece to train on: {labels.num_rows} kept, all for validation or test, and "
            f"{len(refused)} refused, for the reasons in {out / 'quarantine.csv'}"
        )
    report = _report(labels, refused)
    (out / "report.json").write_text(json.dumps(report, indent=1))
    (out / "report.md").write_text(_markdown(report))
    pq.write_table(labels, out / "labels.parquet")
    made_by = labels.select(ATTRIBUTION).sort_by("file").to_pylist()
    _write_csv(out / "attribution.csv", ATTRIBUTION, [list(row.values()) for row in made_by])
    vocabulary.save(out / "vocabulary.json")
    _fit_bins(path for path in shards if path.name.startswith("train")).save(out / "bins.json")
    return report


def _fit_bins(shards: Iterable[Path]) -> Bins:
    table = pa.concat_tables(pq.read_table(path, columns=list(CONDITIONS)) for path in shards)
    columns = {name: table[name].combine_chunks() for name in CONDITIONS}
    return Bins.fit({name: column.flatten().to_numpy() for name, column in columns.items()})


def _label_table(shard: Path) -> pa.Table:
    """Piece-level labels: identity, key, and the mean of each attribute over its known bars."""
    table = pq.read_table(shard)
    lengths = np.diff(table["bar_start"].combine_chunks().offsets.to_numpy())
    piece = np.repeat(np.arange(table.num_rows), lengths)
    n_tokens = np.diff(table["tokens"].combine_chunks().offsets.to_numpy())
    columns = {"n_bars": lengths, "n_tokens": n_tokens}
    for name in attributes.NAMES:
        values = table[name].combine_chunks().flatten().to_numpy()
        known = ~np.isnan(values)
        count = np.bincount(piece[known], minlength=table.num_rows)
        total = np.bincount(piece[known], values[known], minlength=table.num_rows)
        mean = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        columns[name] = mean.astype(np.float32)
    for name, column in columns.items():
        table = table.drop_columns(name) if name in table.column_names else table
        table = table.append_column(name, pa.array(column))
    table = table.drop_columns(["tokens", "bar_start", *BAR_CATEGORIES])
    return table.replace_schema_metadata(None)


LACKING = {
    split: f"No piece for {use}: without a manifest, about one file in twenty is, by its content. "
    "More files, or a manifest with a column `split`, give some."
    for split, use in (("train", "training"), ("valid", "validation"), ("test", "the test"))
}


def _report(labels: pa.Table, refused: list[Refusal]) -> Row:
    rows = labels.select(
        ["source", "split", "seconds", "n_notes", "n_tokens", "n_bars"]
    ).to_pylist()
    groups: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        for key in ((row["source"], row["split"]), ("all", row["split"]), ("all", "all")):
            total = groups.setdefault(key, Counter())
            total.update(pieces=1, notes=row["n_notes"], tokens=row["n_tokens"], bars=row["n_bars"])
            total["seconds"] += row["seconds"]
    known = {name: int(np.isfinite(labels[name].to_numpy()).sum()) for name in attributes.NAMES}
    present = {split for _, split in groups}
    return {
        "kept": len(rows),
        "quarantined": len(refused),
        "warnings": [LACKING[split] for split in SPLITS if split not in present],
        "reasons": dict(Counter(_kind_of(refusal.reason) for refusal in refused).most_common()),
        "dropped_notes": _dropped(labels),
        "pieces_with_attribute": known,
        "groups": [
            {"source": source, "split": split, **_figures(total)}
            for (source, split), total in sorted(groups.items())
        ],
    }


def _dropped(labels: pa.Table) -> list[Row]:
    """Notes kept, and left out by reason, of the kept pieces of each source."""
    names = {"kept": "n_notes", **{why: f"n_{why}" for why in canonical.LOSSES}}
    sums = labels.group_by("source").aggregate([(name, "sum") for name in names.values()])
    sums = sums.select(["source", *(f"{name}_sum" for name in names.values())])
    rows: list[Row] = sums.rename_columns(["source", *names]).sort_by("source").to_pylist()
    return rows


def _figures(total: Counter[str]) -> Row:
    return {
        "pieces": total["pieces"],
        "hours": round(total["seconds"] / 3600, 2),
        "bars": total["bars"],
        "notes": total["notes"],
        "tokens": total["tokens"],
        "tokens_per_note": round(total["tokens"] / max(1, total["notes"]), 3),
    }


def _kind_of(reason: str) -> str:
    """A reason without its particulars, for counting."""
    if reason.startswith("same bytes"):
        return "duplicate"
    return re.split("[:;]", re.sub(r"b'.*?'|\d+", "…", reason))[0]


def _markdown(report: Row) -> str:
    lines = [f"# Prepared corpus: {report['kept']} kept, {report['quarantined']} quarantined", ""]
    groups = report["groups"]
    lines += [*tables.table(list(groups[0]), [list(row.values()) for row in groups]), ""]
    lines += [*tables.table(["quarantined because", "files"], list(report["reasons"].items())), ""]
    reasons = "; ".join(f"{why}: {meaning}" for why, meaning in canonical.LOSSES.items())
    lines += [f"Notes of kept pieces that are left out: {reasons}.", ""]
    dropped = report["dropped_notes"]
    lines += [*tables.table(list(dropped[0]), [list(row.values()) for row in dropped]), ""]
    known = report["pieces_with_attribute"]
    lines += tables.table(["attribute", "pieces where it is known"], list(known.items()))
    lines += [line for warning in report["warnings"] for line in ("", f"**{warning}**")]
    return "\n".join(lines) + "\n"


def _write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)
