"""Listing a corpus: with and without a manifest, what is refused, and what is an error."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest

from sonicrx_ml.corpus import Refusal, list_corpus

COLUMNS = ["file", "tier", "split", "group", "source", "licence", "title", "composer",
           "tempo_explicit", "beat_aligned"]  # fmt: skip


def write_files(root: Path, **contents: str) -> Path:
    root.mkdir(exist_ok=True)
    for name, content in contents.items():
        (root / f"{name}.mid").write_text(content)
    return root


def write_manifest(path: Path, *rows: dict[str, str], columns: list[str] = COLUMNS) -> Path:
    common = {"tier": "a", "split": "train", "group": "g", "source": "s", "licence": "CC0-1.0"}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows({**common, **row} for row in rows)
    return path


def test_plain_folder(tmp_path: Path) -> None:
    root = write_files(tmp_path / "midi", b="1", a="2")
    write_files(root / "deep", c="3")
    (root / "LOUD.MIDI").write_text("4")
    (root / "notes.txt").write_text("5")
    (root / "folder.mid").mkdir()
    entries, refused = list_corpus(root)
    assert [entry.file for entry in entries] == ["LOUD.MIDI", "a.mid", "b.mid", "deep/c.mid"]
    assert refused == []
    first = entries[1]
    assert first.sha1 == first.group == hashlib.sha1(b"2").hexdigest()
    assert (first.source, first.licence, first.tier) == ("folder", "unknown", "a")
    assert (first.tempo_known, first.bars_known) == (None, None)


def test_split_by_content(tmp_path: Path) -> None:
    """About 90/5/5, the same under another name and beside other files."""
    root = write_files(tmp_path / "midi", **{f"f{i}": str(i) for i in range(600)})
    entries, _ = list_corpus(root)
    count = Counter(entry.split for entry in entries)
    assert 500 < count["train"] < 570
    assert 15 < count["valid"] < 50
    assert 15 < count["test"] < 50
    moved = write_files(tmp_path / "moved", **{f"x{i}": str(i) for i in range(0, 600, 7)})
    split = {entry.sha1: entry.split for entry in entries}
    assert all(split[entry.sha1] == entry.split for entry in list_corpus(moved)[0])


def test_manifest(tmp_path: Path) -> None:
    root = write_files(tmp_path / "midi", a="1", b="2", c="3", unlisted="4")
    manifest = write_manifest(
        tmp_path / "m.csv",
        {"file": "b.mid", "split": "test", "tempo_explicit": "0", "beat_aligned": "1"},
        {"file": "a.mid", "title": "Tune", "tempo_explicit": "1", "beat_aligned": ""},
        {"file": "c.mid", "tier": "b"},
        {"file": "gone.mid"},
    )
    entries, refused = list_corpus(root, manifest)
    assert [entry.file for entry in entries] == ["a.mid", "b.mid"]
    a, b = entries
    assert (a.title, a.group, a.source, a.licence, a.split) == (
        "Tune",
        "g",
        "s",
        "CC0-1.0",
        "train",
    )
    assert (a.tempo_known, a.bars_known) == (True, None)
    assert (b.tempo_known, b.bars_known, b.split) == (False, True, "test")
    assert refused == [Refusal("gone.mid", "no such file in the folder")]


def test_tiers(tmp_path: Path) -> None:
    root = write_files(tmp_path / "midi", a="1", b="2")
    manifest = write_manifest(tmp_path / "m.csv", {"file": "a.mid"}, {"file": "b.mid", "tier": "b"})
    assert [e.tier for e in list_corpus(root, manifest, ["a", "b"])[0]] == ["a", "b"]
    assert [e.tier for e in list_corpus(root, manifest, ["b"])[0]] == ["b"]
    with pytest.raises(ValueError, match=r"no MIDI files \(.mid, .midi\) of tier c, d in"):
        list_corpus(root, manifest, ["c", "d"])


def test_duplicates_are_refused_but_for_the_first_name(tmp_path: Path) -> None:
    root = write_files(tmp_path / "midi", c="same", a="same", b="other", d="same")
    entries, refused = list_corpus(root)
    assert [entry.file for entry in entries] == ["a.mid", "b.mid"]
    assert refused == [Refusal(f"{name}.mid", "same bytes as a.mid") for name in "cd"]


def test_errors_name_what_is_wrong(tmp_path: Path) -> None:
    root = write_files(tmp_path / "midi", a="1")
    empty = write_files(tmp_path / "empty")
    with pytest.raises(ValueError, match=r"data.root='.*absent' is not a folder"):
        list_corpus(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"no MIDI files \(.mid, .midi\) in .*empty"):
        list_corpus(empty)
    with pytest.raises(ValueError, match=r"data.manifest='.*absent.csv' is not a file"):
        list_corpus(root, tmp_path / "absent.csv")
    short = write_manifest(tmp_path / "short.csv", columns=["file", "tier", "group", "source"])
    with pytest.raises(ValueError, match=r"short.csv lacks the columns \['split', 'licence'\]"):
        list_corpus(root, short)
    strange = write_manifest(tmp_path / "strange.csv", {"file": "a.mid", "split": "dev"})
    with pytest.raises(ValueError, match=r"a\.mid: split 'dev'; legal are .*'train', 'valid'"):
        list_corpus(root, strange)
