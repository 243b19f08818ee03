"""Preparation: what is kept and refused, equal bytes however it is run, resuming, and loading."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

from sonicrx_ml import attributes, canonical, etudes, labels, shards, tokens
from sonicrx_ml.corpus import SPLITS
from sonicrx_ml.labels import CONDITIONS, Bins
from sonicrx_ml.notes import DRUMS, Meter, Notes, TempoMap, write_midi
from sonicrx_ml.shards import prepare, prepare_etudes

COUNT = 12
BAD = {
    "empty": (b"", "not a MIDI file: starts with b''"),
    "text": (b"a text, not MIDI", "not a MIDI file: starts with b'a te'"),
    "silent": (b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\0\xff\x2f\0", "no notes"),
    "cut": (None, "chunk lengths add up to"),
    "meter": (None, "unsupported meter 11/8"),
    "short": (None, "legal are 8 in 2"),
    "twin": (None, "same bytes as etude_0000.mid"),
}


@pytest.fixture(scope="module", autouse=True)
def small_shards():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD_SIZE", 4)
        yield


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Twelve etudes (ten to train on) and a broken file of every kind, listed in a manifest."""
    root = tmp_path_factory.mktemp("corpus")
    etudes.write_corpus(root, COUNT)
    first = etudes.compose(0).notes
    whole = (root / "etude_0000.mid").read_bytes()
    made = {
        "cut": whole[:-3],
        "meter": write_midi(first.select(first.onset < 40)).replace(
            _signature(first.meters[0]), _signature(Meter(0, 11, 8))
        ),
        "short": write_midi(first.select(np.arange(5))),
        "twin": whole,
    }
    with (root / "manifest.csv").open("a") as file:
        for name, (data, _) in BAD.items():
            (root / f"x_{name}.mid").write_bytes(made.get(name, data) or b"")
            file.write(f"x_{name}.mid,a,train,x,broken,unknown,,,,,\n")
    return root


def _signature(meter: Meter) -> bytes:
    return b"\xff\x58\x04" + bytes([meter.numerator, meter.denominator.bit_length() - 1])


@pytest.fixture(scope="module")
def prepared(corpus, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("prepared")
    prepare(corpus, out, corpus / "manifest.csv", workers=1)
    return out


def rows(folder: Path, split: str) -> list[dict]:
    files = sorted((folder / "shards").glob(f"{split}-*.parquet"))
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if "cache" not in path.parts
    }


# ---------------------------------------------------------------- what is kept


def test_every_piece_is_kept_or_refused_with_a_reason(corpus: Path, prepared: Path) -> None:
    with (prepared / "quarantine.csv").open(newline="") as file:
        refused = {row["file"]: row["reason"] for row in csv.DictReader(file)}
    assert set(refused) == {f"x_{name}.mid" for name in BAD}
    for name, (_, reason) in BAD.items():
        assert reason in refused[f"x_{name}.mid"]
    kept = [row["file"] for split in SPLITS for row in rows(prepared, split)]
    assert sorted(kept) == [f"etude_{i:04d}.mid" for i in range(COUNT)]


def test_rows_are_the_etudes(corpus: Path, prepared: Path) -> None:
    vocabulary = tokens.Vocabulary.build()
    for split in SPLITS:
        for row in rows(prepared, split):
            etude = etudes.compose(int(row["file"][6:10]))
            assert (row["tonic"], row["key_mode"]) == (etude.tonic, etude.mode)
            assert (row["split"], row["source"], row["licence"]) == (split, "etudes", "CC0-1.0")
            np.testing.assert_allclose(row["seconds"], etude.notes.end_seconds, rtol=1e-5)
            assert len(row["bar_start"]) == len(etude.chords)
            assert all(len(row[name]) == len(etude.chords) for name in attributes.NAMES)
            np.testing.assert_allclose(row["density"], etude.onsets, rtol=1e-6)
            assert len(row["bar_key"]) == len(etude.chords)
            every = np.bitwise_or.reduce(np.array(row["bar_families"]))
            assert np.flatnonzero(every >> np.arange(12) & 1).tolist() == row["families"]
            grid = tokens.decode(np.array(row["tokens"]), vocabulary)
            assert len(grid) == row["n_notes"]
            assert row["families"] == np.unique(grid.family).tolist()
            assert row["tokens"][-1] == vocabulary.eos
            assert {row["tokens"][i] for i in row["bar_start"]} == {vocabulary.bar}


def test_label_table_has_the_means_of_bars(prepared: Path) -> None:
    table = pq.read_table(prepared / "labels.parquet").to_pylist()
    pieces = {row["file"]: row for split in SPLITS for row in rows(prepared, split)}
    assert len(table) == COUNT
    for row in table:
        piece = pieces[row["file"]]
        assert row["n_bars"] == len(piece["bar_start"])
        assert row["n_tokens"] == len(piece["tokens"])
        for name in attributes.NAMES:
            np.testing.assert_allclose(row[name], np.nanmean(piece[name]), rtol=1e-5)


def test_bins_come_from_the_training_split(prepared: Path) -> None:
    training = rows(prepared, "train")
    values = {
        name: np.concatenate([np.array(row[name], dtype=np.float32) for row in training])
        for name in CONDITIONS
    }
    assert Bins.load(prepared / "bins.json") == Bins.fit(values)
    other = rows(prepared, "test") + rows(prepared, "valid")
    both = {
        name: np.concatenate([values[name], *[np.float32(row[name]) for row in other]])
        for name in CONDITIONS
    }
    assert Bins.load(prepared / "bins.json") != Bins.fit(both)


def test_report_adds_up(prepared: Path) -> None:
    report = json.loads((prepared / "report.json").read_text())
    assert (report["kept"], report["quarantined"]) == (COUNT, len(BAD))
    assert sum(report["reasons"].values()) == len(BAD)
    assert report["reasons"]["not a MIDI file"] == 2
    assert report["reasons"]["duplicate"] == 1
    assert report["reasons"]["unsupported meter …/…"] == 1
    groups = {(row["source"], row["split"]): row for row in report["groups"]}
    pieces = {split: rows(prepared, split) for split in SPLITS}
    pieces["all"] = [row for split in SPLITS for row in pieces[split]]
    for (source, split), row in groups.items():
        assert source in ("all", "etudes")
        assert row["pieces"] == len(pieces[split])
        assert row["notes"] == sum(piece["n_notes"] for piece in pieces[split])
        assert row["tokens"] == sum(len(piece["tokens"]) for piece in pieces[split])
        assert row["bars"] == sum(len(piece["bar_start"]) for piece in pieces[split])
        assert row["hours"] == round(sum(piece["seconds"] for piece in pieces[split]) / 3600, 2)
        assert row["tokens_per_note"] == round(row["tokens"] / row["notes"], 3)
    assert report["pieces_with_attribute"] == dict.fromkeys(attributes.NAMES, COUNT)
    (dropped,) = report["dropped_notes"]
    assert (dropped.pop("source"), dropped.pop("kept")) == ("etudes", groups["all", "all"]["notes"])
    assert dropped == dict.fromkeys(canonical.LOSSES, 0)
    text = (prepared / "report.md").read_text()
    assert f"{COUNT} kept, {len(BAD)} quarantined" in text


def test_notes_left_out_are_counted_by_source_and_reason(tmp_path: Path) -> None:
    """In 4/4: 16 notes, with two drums and one note off the piano, or one past the last bar."""
    onset, ones = np.arange(16.0), np.ones(16, np.int64)
    plain = Notes(onset, np.full(16, 0.9), 60 + np.arange(16) % 5, 64 * ones, 0 * ones)
    program, pitch, late = plain.program.copy(), plain.pitch.copy(), onset.copy()
    program[:2], pitch[2], late[-1] = DRUMS, 110, 15.99
    files = {"a": replace(plain, program=program, pitch=pitch), "b": replace(plain, onset=late)}
    lines = ["file,tier,split,group,source,licence"]
    for name, notes in files.items():
        (tmp_path / f"{name}.mid").write_bytes(write_midi(notes))
        lines.append(f"{name}.mid,a,train,{name},source {name},CC0-1.0")
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    report = prepare(tmp_path, tmp_path / "out", tmp_path / "m.csv", workers=1)
    none = dict.fromkeys(canonical.LOSSES, 0)
    assert report["dropped_notes"] == [
        {"source": "source a", "kept": 13, **none, "unpitched": 2, "off_range": 1},
        {"source": "source b", "kept": 15, **none, "past_end": 1},
    ]
    text = (tmp_path / "out" / "report.md").read_text()
    assert "| source | kept | unpitched | off_range | past_end | merged |" in text
    assert "| source a | 13 | 2 | 1 | 0 | 0 |" in text


def test_attribution_names_every_kept_piece(tmp_path: Path) -> None:
    root = tmp_path / "midi"
    etudes.write_corpus(root, 3)
    with (root / "manifest.csv").open(newline="") as file:
        given = list(csv.DictReader(file))
    given[1] |= {"title": 'Prélude, "calm"', "composer": "Fryderyk Chopin", "split": "test"}
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(given[0]))
        writer.writeheader()
        writer.writerows(given)
    prepare(root, tmp_path / "out", root / "manifest.csv", workers=1)
    with (tmp_path / "out" / "attribution.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    names = ("file", "title", "composer", "source", "licence", "split")
    assert found == [{name: row[name] for name in names} for row in given]


def test_a_run_says_what_it_read_and_how_fast(corpus: Path, tmp_path: Path) -> None:
    first, again = (
        prepare(corpus, tmp_path, corpus / "manifest.csv", workers=1)["run"] for _ in range(2)
    )
    assert first["files"] == COUNT + len(BAD) - 1  # a duplicate is not read again
    assert first["files_per_s"] == first["files"] / first["seconds"] > 0
    assert again["files"] == 0


def test_untrusted_marks_make_attributes_missing(corpus: Path, tmp_path: Path) -> None:
    with (corpus / "manifest.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        entries = [row for row in reader if row["source"] == "etudes"]
    for row in entries:
        row["tempo_explicit" if int(row["file"][6:10]) % 2 else "beat_aligned"] = "0"
    with (tmp_path / "m.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(entries[0]))
        writer.writeheader()
        writer.writerows(entries)
    report = prepare(corpus, tmp_path / "out", tmp_path / "m.csv", workers=1)
    known = report["pieces_with_attribute"]
    assert {name for name, count in known.items() if count == COUNT / 2} == {
        "tempo", "energy", "density", "mode",
    }  # fmt: skip
    assert all(count in (COUNT / 2, COUNT) for count in known.values())


# ---------------------------------------------------------------- the same bytes


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # Python 3.12
@pytest.mark.parametrize("workers", [1, 2])
def test_equal_bytes_on_any_number_of_processes(
    corpus: Path, prepared: Path, tmp_path: Path, workers: int
) -> None:
    prepare(corpus, tmp_path, corpus / "manifest.csv", workers=workers)
    assert digests(tmp_path) == digests(prepared)
    assert len(list((tmp_path / "shards").iterdir())) == 6  # of 4: 16 to train on, 1 and 1


def test_killed_run_resumes(corpus: Path, prepared: Path, tmp_path: Path, monkeypatch) -> None:
    real = shards._write_shard
    written: list[Path] = []

    def dies(job: shards._Job) -> None:
        if len(written) == 3:
            job.path.with_suffix(".partial").write_bytes(b"half a shard")
            raise KeyboardInterrupt
        written.append(job.path)
        real(job)

    monkeypatch.setattr(shards, "_write_shard", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path, corpus / "manifest.csv", workers=1)
    monkeypatch.setattr(shards, "_write_shard", real)
    assert not (tmp_path / "bins.json").exists()
    before = {path: path.stat().st_mtime_ns for path in written}
    prepare(corpus, tmp_path, corpus / "manifest.csv", workers=1)
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert digests(tmp_path) == digests(prepared)


def test_only_a_missing_shard_is_made_again(corpus: Path, prepared: Path, tmp_path: Path) -> None:
    prepare(corpus, tmp_path, corpus / "manifest.csv", workers=1)
    paths = sorted((tmp_path / "shards").iterdir())
    before = {path: path.stat().st_mtime_ns for path in paths}
    paths[1].unlink()
    prepare(corpus, tmp_path, corpus / "manifest.csv", workers=1)
    changed = [path for path in paths if path.stat().st_mtime_ns != before[path]]
    assert changed == [paths[1]]
    assert digests(tmp_path) == digests(prepared)


def test_changed_corpus_makes_its_shard_again(tmp_path: Path) -> None:
    root = tmp_path / "midi"
    etudes.write_corpus(root, 10)
    manifest = root / "manifest.csv"
    prepare(root, tmp_path / "out", manifest, workers=1)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "shards").iterdir()}
    (root / "etude_0009.mid").write_bytes(write_midi(etudes.compose(99).notes))
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(line for line in lines if "etude_0008" not in line))
    report = prepare(root, tmp_path / "out", manifest, workers=1)
    after = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "shards").iterdir()}
    changed = sorted(p.name for p in before if after.get(p) != before[p])
    assert changed == ["test-00000.parquet", "valid-00000.parquet"]
    assert "valid-00000.parquet" not in {p.name for p in after}
    assert report["kept"] == 9


# ---------------------------------------------------------------- folders


def test_plain_folder(tmp_path: Path) -> None:
    """No manifest: split by content, licence unknown, a lone 120 BPM taken for a placeholder."""
    root = tmp_path / "midi"
    root.mkdir()
    for seed in range(6):
        etude = etudes.compose(seed, form="ABA", meter="4/4", bpm=120 if seed % 2 else 100)
        (root / f"{seed}.mid").write_bytes(write_midi(etude.notes))
    report = prepare(root, tmp_path / "out", workers=1)
    assert report["kept"] == 6
    table = pq.read_table(tmp_path / "out" / "labels.parquet").to_pylist()
    lacking = {"valid", "test"} - {row["split"] for row in table}
    assert len(report["warnings"]) == len(lacking) > 0, "so few files, and nothing is said"
    assert all(told in (tmp_path / "out" / "report.md").read_text() for told in report["warnings"])
    assert {row["licence"] for row in table} == {"unknown"}
    for row in table:
        assert np.isnan(row["tempo"]) == bool(int(row["file"][0]) % 2)


def test_corpus_without_any_tempo_is_prepared(tmp_path: Path) -> None:
    root = tmp_path / "midi"
    root.mkdir()
    for seed in range(3):
        etude = etudes.compose(seed, form="ABA", meter="4/4", bpm=120)
        (root / f"{seed}.mid").write_bytes(write_midi(etude.notes))
    report = prepare(root, tmp_path / "out", workers=1)
    assert report["pieces_with_attribute"]["tempo"] == 0
    assert Bins.load(tmp_path / "out" / "bins.json").edges["energy"] == ()


def test_nothing_to_train_on(tmp_path: Path) -> None:
    root = tmp_path / "midi"
    root.mkdir()
    for i in range(3):
        (root / f"{i}.mid").write_bytes(f"not MIDI {i}".encode())
    with pytest.raises(ValueError, match=r"no piece to train on: 0 kept.*and 3 refused"):
        prepare(root, tmp_path / "out", workers=1)
    assert (tmp_path / "out" / "quarantine.csv").read_text().count("not a MIDI file") == 3
    assert not (tmp_path / "out" / "bins.json").exists()


def test_embedded_corpus_is_prepared_once(tmp_path: Path) -> None:
    out = tmp_path / "data" / "etudes"
    prepare_etudes(out, 10)
    before = digests(out)
    assert json.loads((out / "report.json").read_text())["kept"] == 10
    assert [path.name for path in out.parent.iterdir()] == ["etudes"]
    prepare_etudes(out, 10)
    assert digests(out) == before


def test_embedded_corpus_keeps_what_another_process_made(tmp_path: Path, monkeypatch) -> None:
    """Two ranks begin at once; the slower one finds the folder there."""
    out = tmp_path / "etudes"
    real = shards.prepare

    def slower(*args) -> None:
        real(*args)
        (out / "shards").mkdir(parents=True)
        (out / "bins.json").write_text("the faster one's")

    monkeypatch.setattr(shards, "prepare", slower)
    prepare_etudes(out, 10)
    assert (out / "bins.json").read_text() == "the faster one's"
    assert [path.name for path in tmp_path.iterdir()] == ["etudes"]


# ---------------------------------------------------------------- loading


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets_loads_the_shards(prepared: Path, tmp_path: Path, streaming: bool) -> None:
    files = sorted(str(path) for path in (prepared / "shards").glob("train-*.parquet"))
    loaded = datasets.load_dataset(
        "parquet",
        data_files=files,
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    if not streaming:
        assert loaded.cache_files  # memory-mapped
    found = [(row["file"], row["tokens"]) for row in loaded]
    assert found == [(row["file"], row["tokens"]) for row in rows(prepared, "train")]


def test_tempo_mark_without_a_manifest() -> None:
    """A piece whose only tempo is 120 BPM may just have none."""
    notes = etudes.compose(0, bpm=120, meter="4/4").notes
    assert not shards._tempo_known(notes)
    changing = TempoMap(np.array([0.0, 4.0]), np.array([120.0, 60.0]))
    named = TempoMap(bpm=np.array([119.0]))
    for tempo in (changing, named):
        assert shards._tempo_known(replace(notes, tempo=tempo))


def test_conditions_are_attributes() -> None:
    assert set(labels.CONDITIONS) <= set(attributes.NAMES)
