"""A folder of MIDI files as a list of entries: identity, split, licence, and what can be trusted.

With a manifest (CSV, one row per file) the split, group, licence and trust marks come from it;
without one, the split is by content hash (90/5/5) and the licence is "unknown". Whatever is refused
is named with its reason, never dropped in silence.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

SPLITS = ("train", "valid", "test")
SUFFIXES = (".mid", ".midi")
REQUIRED_COLUMNS = ("file", "tier", "split", "group", "source", "licence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One file of the corpus. `None` in a trust mark means: decide from the notes."""

    file: str
    sha1: str
    split: str
    group: str
    source: str
    tier: str = "a"
    licence: str = "unknown"
    title: str = ""
    composer: str = ""
    tempo_known: bool | None = None
    bars_known: bool | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that is not used, and why."""

    file: str
    reason: str


def list_corpus(
    root: Path, manifest: Path | None = None, tiers: Collection[str] = ("a",)
) -> tuple[list[Entry], list[Refusal]]:
    """Entries sorted by file name, and the files refused already here.

    tiers : the tiers of the manifest to use; a plain folder has none.

    Raises `ValueError` for a missing or empty folder, and for a manifest that is missing, lacks
    one of `REQUIRED_COLUMNS` or names a split that is not in `SPLITS`.
    """
    if not root.is_dir():
        raise ValueError(f"data.root={str(root)!r} is not a folder")
    if manifest and not manifest.is_file():
        raise ValueError(f"data.manifest={str(manifest)!r} is not a file")
    rows = _read_manifest(manifest, set(tiers)) if manifest else _rows_from_folder(root)
    entries: list[Entry] = []
    refused: list[Refusal] = []
    first_with: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["file"]):
        path = root / row["file"]
        if not path.is_file():
            refused.append(Refusal(row["file"], "no such file in the folder"))
            continue
        sha1 = hashlib.sha1(path.read_bytes(), usedforsecurity=False).hexdigest()
        if sha1 in first_with:
            refused.append(Refusal(row["file"], f"same bytes as {first_with[sha1]}"))
            continue
        first_with[sha1] = row["file"]
        entries.append(_entry(row, sha1))
    if not entries:
        named = f"of tier {', '.join(tiers)} " if manifest else ""
        raise ValueError(f"no MIDI files ({', '.join(SUFFIXES)}) {named}in {root}")
    return entries, refused


def _read_manifest(manifest: Path, tiers: set[str]) -> list[dict[str, str]]:
    with manifest.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in REQUIRED_COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"{manifest.name} lacks the columns {missing}")
        rows = [row for row in reader if row["tier"] in tiers]
    for row in rows:
        if row["split"] not in SPLITS:
            raise ValueError(f"{row['file']}: split {row['split']!r}; legal are {SPLITS}")
    return rows


def _rows_from_folder(root: Path) -> list[dict[str, str]]:
    found = (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    files = (path for path in found if not path.is_dir())
    return [{"file": path.relative_to(root).as_posix()} for path in files]


def _entry(row: dict[str, str], sha1: str) -> Entry:
    return Entry(
        file=row["file"],
        sha1=sha1,
        split=row.get("split") or _split_by_hash(sha1),
        group=row.get("group") or sha1,
        source=row.get("source") or "folder",
        tier=row.get("tier") or "a",
        licence=row.get("licence") or "unknown",
        title=row.get("title", ""),
        composer=row.get("composer", ""),
        tempo_known=_flag(row.get("tempo_explicit")),
        bars_known=_flag(row.get("beat_aligned")),
    )


def _flag(text: str | None) -> bool | None:
    return None if text in (None, "") else text == "1"


def _split_by_hash(sha1: str) -> str:
    percent = int(sha1[:8], 16) % 100
    return "train" if percent < 90 else "valid" if percent < 95 else "test"
