"""Notes: MIDI there and back, every way a file can be broken, the tempo map and bars by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml.notes import (
    DRUMS,
    TICKS_PER_QUARTER,
    ControlChange,
    Meter,
    MidiError,
    Notes,
    TempoMap,
    read_midi,
    write_midi,
)

END = b"\x00\xff\x2f\x00"
NOTE = b"\x00\x90\x3c\x40\x60\x80\x3c\x00"  # C4 for 96 ticks


def chunk(tag: bytes, body: bytes) -> bytes:
    return tag + len(body).to_bytes(4, "big") + body


def smf(*tracks: bytes, declared: int | None = None, division: bytes = b"\x01\xe0") -> bytes:
    """A Standard MIDI File, 480 ticks per quarter, of these event streams."""
    count = len(tracks) if declared is None else declared
    header = b"\x00\x01" + count.to_bytes(2, "big") + division
    return chunk(b"MThd", header) + b"".join(chunk(b"MTrk", track + END) for track in tracks)


def piece(onset, duration=1.0, pitch=60, velocity=64, program=0, **more) -> Notes:
    onset = np.array(onset, dtype=np.float64)
    length, *whole = (
        np.resize(np.array(c), len(onset)) for c in (duration, pitch, velocity, program)
    )
    keys, levels, programs = whole
    return Notes(onset, length.astype(np.float64), keys, levels, programs, **more)


def test_one_note_by_hand() -> None:
    notes = read_midi(smf(NOTE))
    assert notes.onset.tolist() == [0.0]
    assert notes.duration.tolist() == [96 / 480]
    assert (notes.pitch[0], notes.velocity[0], notes.program[0]) == (60, 64, 0)
    assert [str(meter) for meter in notes.meters] == ["4/4"]
    assert notes.tempo.bpm.tolist() == [120.0]


# ---------------------------------------------------------------- broken files

BROKEN = {
    "empty file": (b"", "not a MIDI file: starts with b''"),
    "text": (b"not a MIDI file at all", "not a MIDI file: starts with b'not '"),
    "header only": (smf(), "no notes"),
    "truncated chunk": (smf(NOTE)[:-5], "chunk lengths add up to 34 bytes, the file has 29"),
    "extra byte": (smf(NOTE) + b"\x00", "chunk lengths add up to 34 bytes, the file has 35"),
    "missing track": (smf(NOTE, declared=2), "2 tracks declared, 1 found"),
    "track too many": (smf(NOTE, NOTE, declared=1), "chunk lengths add up to 34 bytes"),
    "foreign chunk": (smf(declared=1) + chunk(b"XFIH", NOTE), "chunk b'XFIH' at byte 14"),
    "no notes": (smf(b""), "no notes"),
    "no length": (smf(b"\x00\x90\x3c\x40\x00\x80\x3c\x00"), "no notes"),
    "pitch": (smf(NOTE.replace(b"\x3c", b"\x81")), "note pitch 129; legal are 0 to 127"),
    "program": (smf(b"\x00\xc0\xd5" + NOTE), "program 213; legal are 0 to 127"),
    "controller value": (smf(b"\x00\xb0\x07\xa8" + NOTE), "controller value 168; legal are"),
    "controller number": (smf(b"\x00\xb0\xa8\x07" + NOTE), "controller number 168; legal are"),
    "status byte": (smf(b"\x00\xf4\x00" + NOTE), "cannot be parsed"),
    "SMPTE": (smf(NOTE, division=b"\xe7\x28"), "time division|cannot be parsed"),
    "meter 0/4": (smf(b"\x00\xff\x58\x04\x00\x02\x18\x08" + NOTE), "time signature 0/4"),
    "far note": (smf(b"\xff\xff\xff\x7f\xb0\x07\x40" * 2 + NOTE), "legal are up to 1000000"),
    "far meter": (
        smf(NOTE + b"\xff\xff\xff\x7f\xb0\x07\x40" * 2 + b"\x00\xff\x58\x04\x03\x02\x18\x08"),
        "legal are up to 1000000",
    ),
}


@pytest.mark.parametrize(("data", "reason"), BROKEN.values(), ids=BROKEN)
def test_broken_file_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(MidiError, match=reason):
        read_midi(data)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MidiError, match="cannot be opened: No such file"):
        read_midi(tmp_path / "absent.mid")


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(8, 10_000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_bytes_are_read_or_refused(damage: list[tuple[int, int]]) -> None:
    """Whatever bytes change, the outcome is notes within range or `MidiError`."""
    data = bytearray(smf(b"\x00\xff\x58\x04\x03\x02\x18\x08", b"\x00\xc0\x28" + 4 * NOTE))
    for place, value in damage:
        data[8 + place % (len(data) - 8)] = value
    try:
        notes = read_midi(bytes(data))
    except MidiError:
        return
    assert len(notes) > 0
    assert (notes.duration > 0).all()
    assert notes.pitch.min() >= 0
    assert notes.pitch.max() <= 127
    assert notes.program.max() <= DRUMS


# ---------------------------------------------------------------- MIDI out


@st.composite
def pieces(draw: st.DrawFn) -> Notes:
    """Notes on whole ticks; a key of an instrument sounds once at a time, as MIDI needs."""
    keys = draw(
        st.lists(
            st.tuples(st.integers(0, 127), st.sampled_from([0, 48, 73, DRUMS])),
            unique=True,
            min_size=1,
            max_size=6,
        )
    )
    rows = []
    for pitch, program in keys:
        spans = draw(st.lists(st.integers(1, 3000), min_size=2, max_size=6))
        ticks = np.cumsum(spans)
        for start, end in zip(ticks[:-1:2], ticks[1::2], strict=False):
            rows.append((start, end - start, pitch, draw(st.integers(1, 127)), program))
    start, length, pitch, velocity, program = np.array(rows, dtype=np.int64).T
    bpm = draw(st.lists(st.integers(20, 300), min_size=1, max_size=3, unique=True))
    meters = draw(
        st.lists(st.sampled_from([(4, 4), (3, 4), (6, 8), (7, 8)]), min_size=1, max_size=3)
    )
    return Notes(
        start / TICKS_PER_QUARTER,
        length / TICKS_PER_QUARTER,
        pitch,
        velocity,
        program,
        meters=tuple(
            Meter(6.0 * i, *m) for i, m in enumerate(meters) if i == 0 or m != meters[i - 1]
        ),
        tempo=TempoMap(
            np.arange(len(bpm), dtype=np.float64) * 2.5, np.array(bpm, dtype=np.float64)
        ),
    ).sort()


@settings(max_examples=60)
@given(pieces())
def test_written_midi_reads_back(notes: Notes) -> None:
    data = write_midi(notes)
    back = read_midi(data)
    for name in ("onset", "duration", "pitch", "velocity", "program"):
        assert getattr(back, name).tolist() == getattr(notes, name).tolist(), name
    assert back.meters == notes.meters
    assert back.tempo.start.tolist() == notes.tempo.start.tolist()
    # a tempo is stored as whole microseconds per quarter, which mido rounds and pretty_midi cuts
    np.testing.assert_allclose(60e6 / back.tempo.bpm, 60e6 / notes.tempo.bpm, rtol=0, atol=1.5)
    assert write_midi(notes) == data


def test_controllers_go_to_their_program() -> None:
    notes = piece([0, 0], program=[0, 48])
    data = write_midi(notes, [ControlChange(0.0, 48, 91, 77)])
    assert data.count(bytes([0xB0, 91, 77])) + data.count(bytes([0xB1, 91, 77])) == 1
    assert len(data) > len(write_midi(notes))


# ---------------------------------------------------------------- time


def test_seconds_by_hand() -> None:
    """4 quarters at 120 BPM last 2 s, 2 at 60 BPM 2 s, and then each lasts 1/3 s at 180."""
    tempo = TempoMap(np.array([0.0, 4.0, 6.0]), np.array([120.0, 60.0, 180.0]))
    seconds = tempo.seconds(np.array([0.0, 2.0, 4.0, 5.0, 6.0, 9.0]))
    np.testing.assert_allclose(seconds, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])


@pytest.mark.parametrize(
    ("start", "bpm"),
    [([], []), ([1.0], [60.0]), ([0.0, 0.0], [60.0, 60.0]), ([0.0], [0.0]), ([0.0], [60.0, 70.0])],
)
def test_illegal_tempo_map(start: list[float], bpm: list[float]) -> None:
    with pytest.raises(ValueError, match="tempo"):
        TempoMap(np.array(start), np.array(bpm))


def test_ends() -> None:
    notes = piece([0, 3], [5.0, 1.0], tempo=TempoMap(bpm=np.array([60.0])))
    assert notes.end == 5.0
    assert notes.end_seconds == 5.0
    assert notes.select(notes.pitch > 99).end == 0.0


@pytest.mark.parametrize(
    ("meter", "quarters", "felt"),
    [((4, 4), 4, 1), ((3, 2), 6, 1), ((6, 8), 3, 1.5), ((3, 8), 1.5, 1.5), ((5, 8), 2.5, 1)],
)
def test_felt_beat(meter: tuple[int, int], quarters: float, felt: float) -> None:
    assert (Meter(0, *meter).quarters, Meter(0, *meter).felt_beat) == (quarters, felt)


def test_bars_of_one_meter() -> None:
    """An onset on a bar line opens that bar; a note that rings on opens none."""
    assert piece([0, 3.9], 9.0).bars().edges.tolist() == [0, 4]
    assert piece([0, 4.0]).bars().edges.tolist() == [0, 4, 8]
    assert piece([0]).bars(at_least=3).edges.tolist() == [0, 4, 8, 12]


def test_bars_with_meter_changes() -> None:
    """Two bars of 4/4, then 3/4 from 8, then 6/8 in mid-bar from 12.5."""
    meters = (Meter(0, 4, 4), Meter(8, 3, 4), Meter(12.5, 6, 8))
    bars = piece([0, 16], meters=meters).bars()
    assert bars.edges.tolist() == [0, 4, 8, 11, 12.5, 15.5, 18.5]
    assert [str(m) for m in bars.meters] == ["4/4", "4/4", "3/4", "3/4", "6/8", "6/8"]
    assert bars.index(np.array([-1.0, 3.99, 4.0, 12.4, 12.5, 99.0])).tolist() == [0, 0, 1, 3, 4, 5]


def test_meters_of_a_file() -> None:
    """4/4 until the first one; a repeated one is no change; of two at a time the last wins."""

    def meter(delta: bytes, numerator: int, power: int) -> bytes:
        return delta + b"\xff\x58\x04" + bytes([numerator, power, 24, 8])

    events = meter(b"\x87\x40", 3, 2) + meter(b"\x87\x40", 3, 2)  # at 960 and 1920 ticks
    events += meter(b"\x87\x40", 5, 2) + meter(b"\x00", 6, 3)  # both at 2880
    assert read_midi(smf(events + NOTE)).meters == (
        Meter(0, 4, 4), Meter(2, 3, 4), Meter(6, 6, 8),
    )  # fmt: skip


# ---------------------------------------------------------------- columns


def test_transpose_leaves_drums() -> None:
    assert piece([0, 1], pitch=[60, 38], program=[0, DRUMS]).transpose(5).pitch.tolist() == [65, 38]


def test_sort() -> None:
    notes = piece([1, 0, 0, 0], pitch=[60, 50, 64, 62], program=[0, 40, 0, 0]).sort()
    assert notes.pitch.tolist() == [62, 64, 50, 60]
