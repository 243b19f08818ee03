"""Etudes: what is promised by construction holds on the notes, counted independently."""

from __future__ import annotations

import csv
import itertools
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import etudes, forms
from sonicrx_ml.etudes import Etude, compose
from sonicrx_ml.notes import Notes, read_midi, write_midi

SEEDS = st.integers(0, 2**32 - 1)
MODES = st.sampled_from(["major", "minor"])
few = settings(max_examples=12, deadline=None)

# Pitch classes from the tonic, written out by hand.
SCALE = {"major": {0, 2, 4, 5, 7, 9, 11}, "minor": {0, 2, 3, 5, 7, 8, 10, 11}}
ALTERATIONS = {
    "major": {"V7/V": {6}, "V7/IV": {10}, "V7/VI": {8}, "V65/II": {1}},
    "minor": {"V7/V": {6, 9}, "V7/IV": {4}, "V7/III": set()},
}
MAJOR_CHORDS = {"I": (1, {0, 4, 7}), "II6": (2, {2, 5, 9}), "IV": (4, {5, 9, 0}),
                "V": (5, {7, 11, 2}), "V7": (5, {7, 11, 2, 5}), "VI": (6, {9, 0, 4})}  # fmt: skip
MINOR_CHORDS = {"I": (1, {0, 3, 7}), "II6": (2, {2, 5, 8}), "IV": (4, {5, 8, 0}),
                "V": (5, {7, 11, 2}), "V7": (5, {7, 11, 2, 5}), "VI": (6, {8, 0, 3})}  # fmt: skip


def bar_of(etude: Etude) -> np.ndarray:
    return np.floor(etude.notes.onset / etude.meter.quarters + 1e-9).astype(int)


def sounding(etude: Etude, time: float) -> list[int]:
    notes = etude.notes
    return sorted(notes.pitch[(notes.onset <= time + 1e-9) & (notes.release > time + 1e-9)])


# ---------------------------------------------------------------- pieces


@few
@given(SEEDS)
def test_every_note_is_in_the_scale_or_a_declared_alteration(seed: int) -> None:
    etude = compose(seed)
    classes = (etude.notes.pitch - etude.tonic) % 12
    for bar, chords in enumerate(etude.chords):
        allowed = SCALE[etude.mode].union(
            *(ALTERATIONS[etude.mode][symbol] for symbol in chords.split() if "/" in symbol)
        )
        assert set(classes[bar_of(etude) == bar]) <= allowed


@few
@given(SEEDS)
def test_the_end_is_a_held_tonic_chord_after_its_dominant(seed: int) -> None:
    etude = compose(seed)
    notes, start = etude.notes, (len(etude.chords) - 1) * etude.meter.quarters
    last = notes.select(bar_of(etude) == len(etude.chords) - 1)
    assert (last.onset == start).all()
    assert last.duration == pytest.approx(etude.meter.quarters)
    triad = {0, 4, 7} if etude.mode == "major" else {0, 3, 7}
    classes = (last.pitch - etude.tonic) % 12
    assert set(classes) == triad
    assert classes[last.pitch.argmin()] == 0
    assert classes[last.pitch.argmax()] == 0
    assert etude.chords[-2].endswith("V7")
    assert etude.chords[-1] == "I"


@few
@given(SEEDS)
def test_bars_and_seconds_add_up(seed: int) -> None:
    etude = compose(seed)
    bars = len(etude.chords)
    assert 16 <= bars <= 48
    for per_bar in (etude.onsets, etude.degree, etude.section, etude.texture):
        assert len(per_bar) == bars
    assert etude.notes.end == pytest.approx(bars * etude.meter.quarters)
    beats = bars * etude.meter.quarters / etude.meter.felt_beat
    assert etude.notes.end_seconds == pytest.approx(beats * 60 / etude.bpm)


@few
@given(SEEDS)
def test_onsets_per_beat_are_those_of_the_notes(seed: int) -> None:
    etude = compose(seed)
    counted = [
        len(set(np.round(etude.notes.onset[bar_of(etude) == bar], 6)))
        for bar in range(len(etude.chords))
    ]
    beats = etude.meter.quarters / etude.meter.felt_beat
    assert etude.onsets * beats == pytest.approx(counted)
    assert etude.onsets.min() >= 0.25
    assert etude.onsets.max() <= 4


@few
@given(SEEDS, MODES)
def test_chords_sound_as_written_on_downbeats(seed: int, mode: str) -> None:
    etude = compose(seed, mode=mode, texture="hymn")
    written = MAJOR_CHORDS if mode == "major" else MINOR_CHORDS
    for bar, chords in enumerate(etude.chords):
        if (symbol := chords.split()[0]) in written:
            degree, classes = written[symbol]
            heard = {(p - etude.tonic) % 12 for p in sounding(etude, bar * etude.meter.quarters)}
            assert etude.degree[bar] == degree
            assert heard <= classes
            assert len(heard) >= 3


@few
@given(SEEDS)
def test_hymns_have_no_parallel_fifths_or_octaves_between_outer_voices(seed: int) -> None:
    etude = compose(seed, texture="hymn")
    outer = [(chord[0], chord[-1]) for t in np.unique(etude.notes.onset)
             if (chord := sounding(etude, t))]  # fmt: skip
    for (low, high), (low_next, high_next) in itertools.pairwise(outer):
        if low != low_next and high != high_next and (high - low) % 12 in (0, 7):
            assert (high_next - low_next) % 12 != (high - low) % 12


def flute_line(seed: int) -> Notes:
    notes = compose(seed, scoring="flute and harp", texture="pad").notes
    return notes.select(notes.program == 73)


@few
@given(SEEDS)
def test_melodies_never_leap_far_and_have_no_gaps(seed: int) -> None:
    flute = flute_line(seed)
    assert np.abs(np.diff(flute.pitch)).max() <= 12
    assert flute.release[:-1] == pytest.approx(flute.onset[1:])


def test_melodies_move_mostly_by_step() -> None:
    leaps = np.concatenate([np.abs(np.diff(flute_line(seed).pitch)) for seed in range(40)])
    assert (leaps <= 2).mean() >= 0.5


@few
@given(SEEDS)
def test_melody_is_consonant_with_its_chord_on_every_beat(seed: int) -> None:
    etude = compose(seed, mode="major", scoring="flute and harp", texture="block")
    flute = etude.notes.select(etude.notes.program == 73)
    for onset, pitch in zip(flute.onset, flute.pitch, strict=True):
        chords = etude.chords[int(onset // etude.meter.quarters)].split()
        if len(chords) == 1 and chords[0] in MAJOR_CHORDS and onset % etude.meter.felt_beat == 0:
            assert (pitch - etude.tonic) % 12 in MAJOR_CHORDS[chords[0]][1]


@few
@given(SEEDS)
def test_the_motif_returns_in_the_third_bar_and_sections_keep_their_harmony(seed: int) -> None:
    etude = compose(seed, form="AABA", scoring="flute and harp")
    flute = etude.notes.select(etude.notes.program == 73)
    length = len(etude.chords) // 4

    def rhythm(bar: int) -> list[float]:
        start = bar * etude.meter.quarters
        inside = (flute.onset >= start) & (flute.onset < start + etude.meter.quarters)
        return list(np.round(flute.onset[inside] - start, 6))

    for section in range(4):
        first, third = section * length, section * length + 2
        if len(etude.chords[first].split()) == len(etude.chords[third].split()):
            assert rhythm(first) == rhythm(third)
    a = [etude.chords[i * length : (i + 1) * length] for i in (0, 1, 3)]
    assert a[0] == a[1] == a[2]


@few
@given(SEEDS)
def test_a_key_is_struck_once_at_a_time(seed: int) -> None:
    notes = compose(seed).notes
    for program, pitch in set(zip(notes.program.tolist(), notes.pitch.tolist(), strict=True)):
        same = notes.select((notes.program == program) & (notes.pitch == pitch))
        assert (same.onset[1:] >= same.release[:-1] - 1e-9).all()


@pytest.mark.parametrize(
    ("scoring", "programs", "lowest", "highest"),
    [
        ("piano", {0}, 21, 108),
        ("piano and strings", {0, 48}, 28, 103),
        ("flute and harp", {73, 46}, 24, 98),
        ("guitar", {24}, 40, 93),
        ("strings", {48}, 28, 103),
        ("choir and organ", {52, 19}, 24, 96),
    ],
)
def test_scorings_use_their_instruments_within_range(
    scoring: str, programs: set[int], lowest: int, highest: int
) -> None:
    for seed in range(12):
        notes = compose(seed, scoring=scoring, tonic=seed % 12).notes
        assert set(notes.program.tolist()) == programs
        assert lowest <= notes.pitch.min()
        assert notes.pitch.max() <= highest


def test_flute_stays_on_the_flute() -> None:
    for seed in range(12):
        notes = compose(seed, scoring="flute and harp", tonic=seed % 12).notes
        flute = notes.pitch[notes.program == 73]
        assert flute.min() >= 60
        assert flute.max() <= 98


def test_phrases_swell_after_their_first_bar() -> None:
    rises = []
    for seed in range(20):
        etude = compose(seed)
        place = np.arange(len(etude.chords)) - np.searchsorted(etude.section, etude.section)
        at = place[bar_of(etude)]
        velocity = etude.notes.velocity
        rises.append(velocity[at == 2].mean() - velocity[at == 0].mean())
    assert np.mean(rises) > 2
    assert np.mean(np.array(rises) > 0) > 0.8


def test_pieces_differ_widely_and_within_themselves() -> None:
    pieces = [compose(seed) for seed in range(60)]
    assert {str(p.meter) for p in pieces} == {"4/4", "3/4", "2/4", "6/8"}
    assert {p.scoring for p in pieces} == set(forms.SCORINGS)
    assert {name for p in pieces for name in p.texture} == set(forms.TEXTURES)
    assert {p.tonic for p in pieces} == set(range(12))
    assert min(p.bpm for p in pieces) < 55
    assert max(p.bpm for p in pieces) > 125
    density = np.concatenate([p.onsets for p in pieces])
    assert density.min() <= 0.34
    assert density.max() >= 3.5
    assert np.median([np.ptp(p.onsets) for p in pieces]) >= 1
    register = [p.notes.pitch.mean() for p in pieces]
    assert max(register) - min(register) > 18


# ---------------------------------------------------------------- seeds and arguments


@few
@given(SEEDS)
def test_equal_seeds_make_equal_pieces(seed: int) -> None:
    once, again = compose(seed), compose(seed)
    assert write_midi(once.notes) == write_midi(again.notes)
    assert once.chords == again.chords


def test_other_seeds_make_other_pieces() -> None:
    assert len({write_midi(compose(seed).notes) for seed in range(15)}) == 15


@few
@given(SEEDS, st.integers(0, 11), st.integers(48, 140), MODES, st.sampled_from(["3/4", "6/8"]))
def test_fixed_fields_are_kept_and_leave_the_others(
    seed: int, tonic: int, bpm: int, mode: str, meter: str
) -> None:
    free = compose(seed)
    fixed = compose(seed, tonic=tonic, bpm=bpm, mode=mode, meter=meter)
    assert (fixed.tonic, fixed.bpm, fixed.mode, str(fixed.meter)) == (tonic, bpm, mode, meter)
    assert (fixed.form, fixed.scoring) == (free.form, free.scoring)


def test_transposing_the_tonic_transposes_the_piece() -> None:
    low, high = (compose(5, tonic=t, scoring="guitar").notes for t in (2, 5))
    assert (high.pitch - low.pitch == 3).all()
    assert (high.onset == low.onset).all()


@pytest.mark.parametrize(
    ("fixed", "match"),
    [
        ({"tonic": 12}, "tonic=12"),
        ({"mode": "dorian"}, "mode='dorian'; legal are .*major"),
        ({"bpm": 200}, "bpm=200"),
        ({"meter": "5/4"}, "meter='5/4'; legal are .*6/8"),
        ({"tempo": 60}, "field 'tempo'; legal are tonic, mode, bpm"),
    ],
)
def test_illegal_arguments_are_refused(fixed: dict[str, int | str], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        compose(0, **fixed)


# ---------------------------------------------------------------- corpus


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_corpus_is_complete_and_the_same_each_time(tmp_path: Path) -> None:
    etudes.write_corpus(tmp_path / "a", count=10)
    etudes.write_corpus(tmp_path / "b", count=10)
    etudes.write_corpus(tmp_path / "b", count=10)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == [*(f"etude_{i:04d}.mid" for i in range(10)), "manifest.csv", "truth.csv"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_manifest_says_what_the_files_are(tmp_path: Path) -> None:
    etudes.write_corpus(tmp_path, count=20, seed=3)
    manifest = rows(tmp_path / "manifest.csv")
    assert ",".join(manifest[0]) == (
        "file,tier,split,group,source,licence,title,composer,tempo_explicit,beat_aligned,vel_std"
    )
    splits = [row["split"] for row in manifest]
    assert [splits.count(name) for name in ("train", "valid", "test")] == [16, 2, 2]
    assert len({row["group"] for row in manifest}) == 20
    for row in manifest:
        assert (row["tier"], row["source"], row["licence"]) == ("a", "etudes", "CC0-1.0")
        assert (row["tempo_explicit"], row["beat_aligned"]) == ("1", "1")
        assert float(row["vel_std"]) > 2


def test_truth_is_that_of_the_files(tmp_path: Path) -> None:
    etudes.write_corpus(tmp_path, count=6)
    for row in rows(tmp_path / "truth.csv"):
        notes = read_midi(tmp_path / row["file"])
        grid = notes.bars()
        beats = grid.meters[0].quarters / grid.meters[0].felt_beat
        counted = np.bincount(grid.index(np.unique(notes.onset)), minlength=len(grid)) / beats
        assert [float(x) for x in row["onsets"].split()] == pytest.approx(list(counted), rel=1e-3)
        assert str(grid.meters[0]) == row["meter"]
        assert int(row["bars"]) == len(grid) == len(row["chords"].split())
        felt = notes.tempo.bpm / grid.meters[0].felt_beat
        assert felt == pytest.approx([float(row["bpm"])], rel=1e-4)
        final = notes.select(notes.onset == notes.onset.max())
        assert final.pitch.min() % 12 == int(row["tonic"])


def test_midi_keeps_every_note() -> None:
    for seed in range(10):
        notes = compose(seed).notes
        again = read_midi(write_midi(notes))
        for column in ("onset", "duration", "pitch", "velocity", "program"):
            assert getattr(again, column) == pytest.approx(getattr(notes, column), abs=1 / 480)


def test_an_etude_names_itself() -> None:
    assert compose(0, tonic=3, mode="minor", form="ABA").title == "Etude in Eb minor, ABA"
    assert "title" not in {field.name for field in fields(Etude)}
