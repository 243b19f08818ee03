"""Tokens: equal to stock MidiTok, and lossless; streams and files that are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml import canonical, etudes, tokens
from sonicrx_ml.canonical import DURATIONS, GRID, HIGHEST, LOWEST, METERS, Gridded
from sonicrx_ml.notes import Meter, Notes, write_midi
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.tokens import Vocabulary, decode, encode, expand, remi

VOCABULARY = Vocabulary.build()
LEGAL_METERS = [(n, d) for d, numerators in METERS.items() for n in numerators]


def snapped(notes: Notes) -> Gridded:
    simple = canonical.playable(canonical.simplify_meters(notes))
    return canonical.snap(simple, simple.bars())


def names(ids: Any) -> list[str]:
    return [VOCABULARY.names[i] for i in ids]


def ids_of(text: str) -> np.ndarray:
    """Ids of space-separated names; `Bar`, `BOS`, `EOS`, `PAD` need no value."""
    plain = {"Bar", "BOS", "EOS", "PAD"}
    return np.array(
        [VOCABULARY.ids[f"{n}_None" if n in plain else n] for n in text.split()], dtype=np.uint16
    )


def columns(grid: Gridded) -> list[list[int]]:
    parts = (grid.bar, grid.position, grid.length, grid.pitch, grid.family)
    return [part.tolist() for part in parts]


# ---------------------------------------------------------------- MidiTok


def stock_encoding(notes: Notes) -> list[str]:
    """MidiTok's own names for a piece that is on the grid."""
    score = symusic.Score.from_midi(write_midi(notes))
    return remi().encode(score, no_preprocess_score=False).tokens


ETUDES = [
    (0, {"meter": "4/4", "scoring": "piano"}),
    (1, {"meter": "3/4", "scoring": "piano and strings"}),
    (2, {"meter": "6/8", "scoring": "flute and harp", "texture": "alberti"}),
    (3, {"meter": "2/4", "scoring": "choir and organ", "texture": "hymn"}),
    (4, {"meter": "4/4", "scoring": "strings", "texture": "counterpoint"}),
    (5, {"meter": "6/8", "scoring": "guitar"}),
]


@pytest.mark.parametrize(("seed", "fixed"), ETUDES)
def test_expanded_stream_is_stock_miditok(seed: int, fixed: dict[str, Any]) -> None:
    grid = snapped(etudes.compose(seed, form="ABA", **fixed).notes)
    ids, _ = encode(grid, VOCABULARY)
    assert names(expand(ids[:-1], VOCABULARY)) == stock_encoding(canonical.unsnap(grid))


def test_stock_miditok_with_changing_meters_and_an_empty_bar() -> None:
    meters = (Meter(0, 3, 4), Meter(6, 6, 8), Meter(12, 5, 4))
    onset = np.array([0, 0, 0.25, 0, 6.5, 7, 12])
    program = np.array([0, 0, 0, 48, 73, 73, 0])
    pitch = np.array([60, 64, 60, 40, 80, 81, 50])
    length = np.array([0.25, 3, 1, 2, 0.5, 5, 4.5])
    grid = snapped(Notes(onset, length, pitch, np.full(7, 64), program, meters=meters).sort())
    ids, _ = encode(grid, VOCABULARY)
    assert names(expand(ids[:-1], VOCABULARY)) == stock_encoding(canonical.unsnap(grid))


def test_stock_miditok_reads_our_streams() -> None:
    grid = snapped(etudes.compose(0, form="ABA", scoring="piano and strings").notes)
    ids, _ = encode(grid, VOCABULARY)
    score = remi().decode(expand(ids[:-1], VOCABULARY).tolist())
    heard = sorted(
        (note.time / score.ticks_per_quarter, note.pitch, track.program)
        for track in score.tracks
        for note in track.notes
    )
    notes = canonical.unsnap(grid)
    written = sorted(zip(notes.onset, notes.pitch, notes.program, strict=True))
    np.testing.assert_allclose(heard, written)


# ---------------------------------------------------------------- the stream


def test_stream_by_hand() -> None:
    """A repeated Position or Program in a bar is left out; a new bar names its Program again."""
    meters = (Meter(0, 4, 4), Meter(0, 4, 4))
    rows = [(0, 0, 12, 60, 0), (0, 0, 12, 64, 0), (0, 12, 6, 62, 0), (1, 0, 48, 48, 5)]
    bar, position, length, pitch, family = np.array(rows).T
    grid = Gridded(bar, position, length, pitch, family, np.full(4, 64), meters)
    ids, bar_start = encode(grid, VOCABULARY)
    assert " ".join(names(ids)) == (
        "Bar_None TimeSig_4/4 Position_0 Program_0 Pitch_60 Duration_1.0.12 Pitch_64 "
        "Duration_1.0.12 Position_12 Pitch_62 Duration_0.6.12 "
        "Bar_None TimeSig_4/4 Position_0 Program_48 Pitch_48 Duration_4.0.2 EOS_None"
    )
    assert bar_start.tolist() == [0, 11]
    assert ids.dtype == np.uint16
    assert names(expand(ids, VOCABULARY)).count("Program_0") == 3


@st.composite
def grids(draw: st.DrawFn) -> Gridded:
    meters = tuple(
        Meter(0.0, *meter)
        for meter in draw(st.lists(st.sampled_from(LEGAL_METERS), min_size=1, max_size=5))
    )
    notes = draw(
        st.sets(
            st.tuples(
                st.integers(0, len(meters) - 1),
                st.integers(0, 10**6),
                st.integers(0, len(FAMILIES) - 1),
                st.integers(LOWEST, HIGHEST),
            ),
            max_size=40,
        )
    )
    rows = sorted({(b, p % (meters[b].numerator * GRID), f, n) for b, p, f, n in notes})
    bar, position, family, pitch = np.array(rows, dtype=np.int64).reshape(-1, 4).T
    length = np.array([draw(st.sampled_from(DURATIONS.tolist())) for _ in rows], dtype=np.int64)
    return Gridded(bar, position, length, pitch, family, np.full(len(rows), 64), meters)


@settings(max_examples=150)
@given(grids())
def test_decode_undoes_encode(grid: Gridded) -> None:
    ids, bar_start = encode(grid, VOCABULARY)
    back = decode(ids, VOCABULARY)
    assert columns(back) == columns(grid)
    assert [str(meter) for meter in back.meters] == [str(meter) for meter in grid.meters]
    assert (back.velocity == 64).all()
    assert np.flatnonzero(ids == VOCABULARY.bar).tolist() == bar_start.tolist()
    framed = np.concatenate([[VOCABULARY.bos], ids, [VOCABULARY.pad, VOCABULARY.pad]])
    assert columns(decode(framed, VOCABULARY)) == columns(grid)
    assert columns(decode(expand(ids, VOCABULARY), VOCABULARY)) == columns(grid)


HEAD = "Bar TimeSig_4/4 Position_0 Program_0 Pitch_60"


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("", "begins with a BOS or Bar token"),
        ("TimeSig_4/4 Bar", "begins with a BOS or Bar token"),
        ("Bar Position_0 Program_0 Pitch_60 Duration_1.0.12", "token 1: Position after Bar"),
        (f"{HEAD} Position_12", "token 5: Position after Pitch"),
        (HEAD, "ends with Pitch"),
        ("Bar", "ends with Bar"),
        ("Bar TimeSig_4/4 Pitch_60 Duration_1.0.12", "token 2: Pitch after TimeSig"),
        ("Bar TimeSig_4/4 Position_0 Pitch_60 Duration_1.0.12", "before the first Program"),
        (
            f"{HEAD} Duration_1.0.12 Bar TimeSig_4/4 Position_0 Pitch_60 Duration_1.0.12",
            "before the first Program",
        ),
        (
            "Bar TimeSig_4/4 Position_12 Program_0 Pitch_60 Duration_1.0.12 Position_6 Pitch_60 "
            "Duration_1.0.12",
            "goes back in time",
        ),
        (f"{HEAD} Duration_1.0.12 EOS Bar TimeSig_4/4", "token 7: Bar after EOS"),
        (f"{HEAD} Duration_1.0.12 Duration_1.0.12", "token 6: Duration after Duration"),
    ],
)
def test_ungrammatical_stream_is_refused(stream: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(ids_of(stream), VOCABULARY)


# ---------------------------------------------------------------- the vocabulary


def test_meaning_of_tokens() -> None:
    def value(name: str) -> int:
        return int(VOCABULARY.value[VOCABULARY.ids[name]])

    assert value("Pitch_60") == 60
    assert value("Position_71") == 71
    assert value("Program_48") == list(FAMILIES).index("strings")
    assert (value("Duration_0.1.12"), value("Duration_3.11.12"), value("Duration_4.1.2")) == (
        1, 47, 54,
    )  # fmt: skip
    assert VOCABULARY.meters[value("TimeSig_6/8")] == "6/8"
    kinds = np.unique(VOCABULARY.value[VOCABULARY.kind == 8])
    assert kinds.tolist() == DURATIONS.tolist()
    assert VOCABULARY.pad == 0


def test_fingerprint_is_stable() -> None:
    """A checkpoint depends on every id: changing this value makes released ones unreadable."""
    assert len(VOCABULARY) == 333
    assert VOCABULARY.fingerprint == "2760d1fb20f1906c"
    assert Vocabulary(VOCABULARY.names[::-1]).fingerprint != VOCABULARY.fingerprint


def test_unknown_meter() -> None:
    with pytest.raises(ValueError, match="meter 11/8; legal are 2/4, 3/4"):
        VOCABULARY.meter(Meter(0, 11, 8))


def test_saved_vocabulary_loads(tmp_path: Path) -> None:
    VOCABULARY.save(tmp_path / "vocabulary.json")
    assert Vocabulary.load(tmp_path / "vocabulary.json") == VOCABULARY


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"Bar_None": 0}', "vocabulary.json: a vocabulary is a JSON list"),
        ('["Bar_None", 3]', "vocabulary.json: a vocabulary is a JSON list"),
        ('["Bar_None", "Bar_None"]', "names a token twice"),
        ('["Bar_None", "Velocity_64"]', "token 'Velocity_64'; legal types are PAD"),
        ("[", "Expecting value"),
    ],
)
def test_malformed_vocabulary_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vocabulary.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        Vocabulary.load(path)


def test_the_fingerprint_is_of_the_vocabulary():
    assert Vocabulary.build().fingerprint == tokens.FINGERPRINT
