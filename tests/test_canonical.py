"""The canonical form by hand: meters, pickups, grid, keys struck again; and its idempotence."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonicrx_ml.canonical import (
    DURATIONS,
    GRID,
    HIGHEST,
    LOSSES,
    LOWEST,
    METERS,
    Gridded,
    full_bars,
    into_range,
    losses,
    nearest_duration,
    playable,
    simplify_meters,
    snap,
    unsnap,
)
from sonicrx_ml.notes import DRUMS, Meter, MidiError, Notes, TempoMap
from sonicrx_ml.palette import FAMILIES

STRINGS = list(FAMILIES).index("strings")
LEGAL = [(n, d) for d, numerators in METERS.items() for n in numerators]


def piece(onset, duration=1.0, pitch=60, program=0, velocity=64, **more) -> Notes:
    onset = np.array(onset, dtype=np.float64)
    length, *whole = (
        np.resize(np.array(c), len(onset)) for c in (duration, pitch, velocity, program)
    )
    keys, levels, programs = whole
    return Notes(onset, length.astype(np.float64), keys, levels, programs, **more)


def in_meters(*meters: tuple[float, int, int], onset: tuple[float, ...] = (0.0,), **more) -> Notes:
    return piece(onset, meters=tuple(Meter(*meter) for meter in meters), **more)


def rows(grid: Gridded) -> list[tuple[int, ...]]:
    columns = (grid.bar, grid.position, grid.family, grid.pitch, grid.length)
    return [tuple(row) for row in np.column_stack(columns).tolist()]


# ---------------------------------------------------------------- meters


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ((2, 2), "4/4"),
        ((3, 2), "6/4"),
        ((4, 2), "4/4"),
        ((1, 4), "4/4"),
        ((8, 8), "4/4"),
        ((4, 8), "2/4"),
        ((6, 16), "3/8"),
        ((12, 16), "6/8"),
        ((12, 4), "6/4"),
        *[(meter, f"{meter[0]}/{meter[1]}") for meter in LEGAL],
    ],
)
def test_meter_is_read_as(written: tuple[int, int], read: str) -> None:
    simple = simplify_meters(in_meters((0, *written)))
    assert [str(meter) for meter in simple.meters] == [read]


@pytest.mark.parametrize("meter", [(7, 16), (11, 8), (15, 8), (21, 4), (5, 1)])
def test_meter_without_an_equivalent_is_refused(meter: tuple[int, int]) -> None:
    with pytest.raises(MidiError, match=f"unsupported meter {meter[0]}/{meter[1]}"):
        simplify_meters(in_meters((0, *meter)))


def test_other_meters_keep_their_bar_lines() -> None:
    """A bar line of the written meter stays one, except where a bar is too short to be legal."""
    for written in [(2, 2), (3, 2), (4, 2), (8, 8), (4, 8), (12, 4), (9, 4), (6, 16), (12, 16)]:
        notes = in_meters((0, *written), onset=(0.0, 40.0))
        lines = set(np.round(simplify_meters(notes).bars().edges, 6))
        assert set(np.round(notes.bars().edges[:-1], 6)) <= lines, written


def test_pickup_ends_its_bar() -> None:
    """One quarter of 1/4 before 4/4: the piece begins on the fourth beat of a bar."""
    tempo = TempoMap(np.array([0.0, 2.0]), np.array([60.0, 90.0]))
    simple = simplify_meters(in_meters((0, 1, 4), (1, 4, 4), onset=(0, 1, 2), tempo=tempo))
    assert simple.onset.tolist() == [3, 4, 5]
    assert simple.meters == (Meter(0, 4, 4),)
    assert simple.tempo.start.tolist() == [0, 5]
    assert simple.tempo.bpm.tolist() == [60, 90]


def test_pickup_before_other_changes() -> None:
    simple = simplify_meters(in_meters((0, 1, 4), (1, 3, 4), (7, 2, 2), onset=(0, 1)))
    assert simple.meters == (Meter(0, 3, 4), Meter(9, 4, 4))


def test_first_segment_of_a_bar_or_more_is_no_pickup() -> None:
    notes = in_meters((0, 4, 4), (4, 3, 4), onset=(0, 4))
    assert simplify_meters(notes).onset.tolist() == [0, 4]
    assert simplify_meters(notes).meters == notes.meters


def test_meters_that_become_equal_merge() -> None:
    assert simplify_meters(in_meters((0, 4, 4), (8, 2, 2), (16, 3, 4))).meters == (
        Meter(0, 4, 4), Meter(16, 3, 4),
    )  # fmt: skip


# ---------------------------------------------------------------- notes


def test_playable() -> None:
    """No drums, no timpani (47), nothing off the piano."""
    notes = piece([0, 1, 2, 3, 4], pitch=[60, 38, 50, 20, 109], program=[0, DRUMS, 47, 0, 0])
    assert playable(notes).pitch.tolist() == [60]
    with pytest.raises(MidiError, match="no pitched notes on the piano's range"):
        playable(notes.select(notes.pitch != 60))


def test_into_range_moves_by_octaves() -> None:
    pitch = [LOWEST - 6, LOWEST - 1, LOWEST, 60, HIGHEST, HIGHEST + 1, HIGHEST + 13]
    moved = into_range(piece(range(7), pitch=pitch))
    assert moved.pitch.tolist() == [27, 32, 21, 60, 108, 97, 97]


def test_durations() -> None:
    """Every position up to 4 beats, every half beat up to 16: 47 + 25."""
    assert len(DURATIONS) == 72
    assert (DURATIONS[0], DURATIONS[46], DURATIONS[47], DURATIONS[48], DURATIONS[-1]) == (
        1, 47, 48, 54, 192,
    )  # fmt: skip
    assert nearest_duration(np.array([0.0, 0.4, 1.6, 50.0, 52.0, 999.0])).tolist() == [
        1, 1, 2, 48, 54, 192,
    ]  # fmt: skip


def test_snap_by_hand() -> None:
    """A sixteenth is 3 positions, a triplet eighth 4; strings come after piano at an onset."""
    notes = piece(
        [0, 0.25, 1 / 3, 0, 4.01], [0.25, 0.08, 2, 1, 0.5], [60, 62, 64, 72, 65], [0, 0, 0, 48, 0]
    )
    assert rows(snap(notes, notes.bars())) == [
        (0, 0, 0, 60, 3),
        (0, 0, STRINGS, 72, 12),
        (0, 3, 0, 62, 1),
        (0, 4, 0, 64, 24),
        (1, 0, 0, 65, 6),
    ]


def test_snap_in_eighth_meters() -> None:
    """In 6/8 an eighth is a beat of 12 positions."""
    notes = in_meters((0, 6, 8), onset=(0, 0.5, 2.75, 3.0), duration=0.5)
    assert rows(snap(notes, notes.bars())) == [
        (0, 0, 0, 60, 12),
        (0, 12, 0, 60, 12),
        (0, 66, 0, 60, 6),
        (1, 0, 0, 60, 12),
    ]


def test_snap_to_the_next_bar_line() -> None:
    """An onset nearer to the next bar line goes there; past the last line it is gone."""
    notes = piece([0, 3.99, 7.99], pitch=[60, 61, 62])
    assert rows(snap(notes, notes.bars())) == [(0, 0, 0, 60, 12), (1, 0, 0, 61, 12)]


def test_snap_in_a_bar_cut_short() -> None:
    """3/4 begins in mid-bar at 2: an onset just before it belongs to it."""
    notes = in_meters((0, 4, 4), (6, 3, 4), onset=(0, 5.5, 5.99), duration=0.25)
    grid = snap(notes, notes.bars())
    assert rows(grid) == [(0, 0, 0, 60, 3), (1, 18, 0, 60, 3), (2, 0, 0, 60, 3)]


def test_key_struck_again_ends_its_note() -> None:
    """Only the same key of the same family, and across bar lines and meters."""
    notes = in_meters(
        (0, 4, 4), (4, 6, 8), onset=(0, 0, 1, 3, 4.5), duration=[4, 4, 0.5, 8, 1],
        pitch=[60, 64, 60, 60, 60], program=[0, 0, 0, 0, 1],
    )  # fmt: skip
    grid = snap(notes, notes.bars())
    assert rows(grid) == [
        (0, 0, 0, 60, 12),
        (0, 0, 0, 64, 48),
        (0, 12, 0, 60, 6),
        (0, 36, 0, 60, 18),
        (1, 12, 0, 60, 24),
    ]


def test_a_key_struck_again_within_a_position_keeps_one() -> None:
    """The bar at 4 is 1.5 positions long: its second position is half a position from the next."""
    notes = in_meters(
        (0, 4, 4), (4, 2, 4), (4.125, 3, 4), onset=(0, 4 + 1 / 12, 4.125), duration=[1, 9, 1]
    )
    grid = snap(notes, notes.bars())
    assert rows(grid) == [(0, 0, 0, 60, 12), (1, 1, 0, 60, 1), (2, 0, 0, 60, 12)]


def test_coinciding_notes_leave_the_longest() -> None:
    notes = piece([0, 0.01, 0], [1, 2, 0.5], program=[0, 1, 0], velocity=[10, 20, 30])
    grid = snap(notes, notes.bars())
    assert rows(grid) == [(0, 0, 0, 60, 24)]
    assert grid.velocity.tolist() == [20]


def test_losses_by_hand() -> None:
    """A drum, a timpani off range too, a pitch too low, an onset past the end, a key twice."""
    notes = piece(
        [0, 0, 0, 1, 3.99, 2, 2.01, 3],
        [1, 1, 1, 1, 1, 1, 0.5, 1],
        [38, 20, 20, 60, 61, 62, 62, 63],
        [DRUMS, 47, 0, 0, 0, 0, 0, 0],
    )
    played = playable(notes)
    bars = played.bars()
    found = losses(notes, played, bars, snap(played, bars))
    assert found == {"unpitched": 2, "off_range": 1, "past_end": 1, "merged": 1}
    assert found.keys() == LOSSES.keys()


@st.composite
def raw_pieces(draw: st.DrawFn) -> Notes:
    """Anything a file may hold: overlaps, off-grid onsets, meters that change in mid-bar."""
    count = draw(st.integers(1, 25))
    number = st.floats(0, 30, allow_nan=False)
    changes = draw(st.lists(st.tuples(st.integers(1, 20), st.sampled_from(LEGAL)), max_size=2))
    found = {0: draw(st.sampled_from(LEGAL)), **dict(changes)}
    meters = [Meter(float(start), *found[start]) for start in sorted(found)]
    keep = [meters[0], *[b for a, b in itertools.pairwise(meters) if str(a) != str(b)]]
    return piece(
        sorted(draw(st.lists(number, min_size=count, max_size=count))),
        draw(st.lists(st.floats(0.01, 20), min_size=count, max_size=count)),
        draw(st.lists(st.integers(58, 64), min_size=count, max_size=count)),
        draw(st.lists(st.sampled_from([0, 48, 73]), min_size=count, max_size=count)),
        meters=tuple(keep),
    )


@settings(max_examples=80)
@given(raw_pieces())
def test_snapping_twice_changes_nothing(notes: Notes) -> None:
    bars = notes.bars()
    grid = snap(notes, bars)
    again = snap(unsnap(grid, bars, notes.tempo), bars)
    assert rows(again) == rows(grid)
    assert unsnap(grid, bars).bars(at_least=len(bars)).edges.tolist() == bars.edges.tolist()


@settings(max_examples=80)
@given(raw_pieces())
def test_snapped_notes_are_legal(notes: Notes) -> None:
    bars = notes.bars()
    grid = snap(notes, bars)
    found = rows(grid)
    assert found == sorted(found)
    assert len({row[:4] for row in found}) == len(found)
    sizes = np.array([meter.numerator * GRID for meter in grid.meters])
    assert (grid.position < sizes[grid.bar]).all()
    assert np.isin(grid.length, DURATIONS).all()


def test_unsnap_gives_families_their_program_and_full_bars() -> None:
    meters = (Meter(0, 3, 4), Meter(0, 6, 8))
    bar, position, length = np.array([0, 1]), np.array([12, 12]), np.array([6, 24])
    pitch, family, velocity = np.array([60, 62]), np.array([0, STRINGS]), np.array([64, 70])
    notes = unsnap(Gridded(bar, position, length, pitch, family, velocity, meters))
    assert notes.onset.tolist() == [1.0, 3.5]
    assert notes.duration.tolist() == [0.5, 1.0]
    assert notes.program.tolist() == [0, 48]
    assert notes.meters == (Meter(0, 3, 4), Meter(3, 6, 8))
    assert full_bars(meters).edges.tolist() == [0, 3, 6]
