"""Performance: dynamics, articulation and the end are what was asked, whatever was composed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml.attributes import legato_ratio, polyphony
from sonicrx_ml.expression import (
    ARCH_DB,
    articulate,
    end_at,
    perform,
    release_restruck,
    velocities,
)
from sonicrx_ml.notes import Bars, Meter, Notes
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription


def piece(*rows, meter=Meter(0.0, 4, 4)):  # noqa: B008  # frozen
    """Notes from (onset, duration, pitch) or (onset, duration, pitch, program) rows."""
    full = [(*row, 0)[:4] for row in rows]
    onset, duration, pitch, program = (np.array(c) for c in zip(*full, strict=True))
    velocity = np.full(len(full), 64)
    return Notes(onset.astype(float), duration.astype(float), pitch, velocity, program, (meter,))


def four_four(n_bars):
    return Bars(4.0 * np.arange(n_bars + 1), (Meter(0.0, 4, 4),) * n_bars)


def scale(n_bars, duration=0.5):
    return piece(*((q, duration, 60 + q % 12) for q in range(4 * n_bars)))


def chords(n_bars, *lengths):
    """At every beat as many notes as there are lengths, the lowest first."""
    return piece(
        *((q, length, 60 + 4 * i) for q in range(4 * n_bars) for i, length in enumerate(lengths))
    )


def bar_level(notes, bars):
    """Mean level of each bar's notes, dB re velocity 64, by the 40 log law."""
    level, bar = 40 * np.log10(notes.velocity / 64), bars.index(notes.onset)
    return np.array([level[bar == b].mean() for b in range(len(bars))])


# ---------------------------------------------------------------- loudness


def test_bar_means_follow_the_asked_loudness():
    bars = four_four(8)
    asked = np.array([-6.0, -6, -3, -3, 0, 0, 2, 2])
    notes = scale(8)
    played = replace(notes, velocity=velocities(notes, bars, asked))
    # the arch over four bars: half a sine at 1/8, 3/8, 5/8, 7/8, less its mean
    arch = np.sin(np.pi * np.array([1, 3, 5, 7]) / 8)
    arch = ARCH_DB * (arch - arch.mean())
    np.testing.assert_allclose(bar_level(played, bars), asked + np.tile(arch, 2), atol=0.2)
    assert bar_level(played, bars)[:4].mean() == pytest.approx(-4.5, abs=0.1)


def test_the_bar_line_is_stressed_most_and_off_beats_least():
    notes = piece(*((q / 2, 0.5, 60) for q in range(8)))
    heard = velocities(notes, four_four(1), np.zeros(1))
    assert heard[0] > heard[2] == heard[4] == heard[6] > heard[1] == heard[3] == heard[5]


def test_compound_meters_are_stressed_on_dotted_quarters():
    meter = Meter(0.0, 6, 8)
    notes = piece(*((e / 2, 0.5, 60) for e in range(6)), meter=meter)
    heard = velocities(notes, Bars(np.array([0.0, 3.0]), (meter,)), np.zeros(1))
    assert heard[0] > heard[3] > heard[1] == heard[2] == heard[4] == heard[5]


def test_the_top_voice_sings():
    notes = piece((0, 1, 60), (0, 1, 72), (0, 1, 64))
    low, high, middle = velocities(notes, four_four(1), np.zeros(1))
    assert high > low == middle


def test_velocities_stay_playable():
    notes = scale(2)
    assert velocities(notes, four_four(2), np.array([-90.0, 90.0])).tolist() == [25] * 4 + [121] * 4


# ---------------------------------------------------------------- articulation


@pytest.mark.parametrize("asked", [0.3, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("composed", [0.25, 0.6, 1.0])
def test_articulation_reaches_the_asked_ratio(asked, composed):
    bars, notes = four_four(4), scale(4, duration=composed)
    played = articulate(notes, bars, np.full(4, asked))
    ratio = legato_ratio(played)
    assert ratio[:-1] == pytest.approx(np.full(15, asked), abs=1e-9)  # nothing follows the last


@pytest.mark.parametrize("wanted", [2.0, 2.4, 3.0])
def test_polyphony_is_met_within_the_same_articulation(wanted):
    """Three notes at .6 sound as 3 let go together, or, one of them held, as 1 + 2 x .4 = 1.8."""
    bars, notes = four_four(4), chords(4, 0.9, 0.5, 0.4)
    played = articulate(notes, bars, np.full(4, 0.6), np.full(4, wanted))
    assert polyphony(played, bars)[:3] == pytest.approx(np.full(3, wanted), abs=0.25)
    ratio = legato_ratio(played).reshape(16, 3)[:12]
    assert ratio.mean(axis=1) == pytest.approx(np.full(12, 0.6), abs=1e-9)
    assert (ratio.argmax(axis=1) == 0).all() or wanted == 3.0  # what was composed longest is held


@pytest.mark.parametrize("wanted", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("asked", [np.nan, 0.6])
def test_lengths_are_for_polyphony_where_articulation_is_open_or_gives_way(asked, wanted):
    """Three notes on every beat, no two onsets with a key in common."""
    bars = four_four(6)
    notes = piece(*((b, 0.6, 48 + b % 4 + 7 * v) for b in range(24) for v in range(3)))
    played = articulate(notes, bars, np.full(6, asked), np.full(6, wanted), gives_way=asked == 0.6)
    assert polyphony(notes, bars) == pytest.approx(np.full(6, 3.0))
    assert polyphony(played, bars) == pytest.approx(np.full(6, wanted), rel=0.12)


def test_what_is_held_into_a_bar_is_chosen_with_it():
    """A chord before a bar line, then a single late note: held until that, three for three beats
    and one for a beat are 2.5; let go at the bar line they would leave 1."""
    bars = four_four(2)
    notes = piece(*((3, 0.5, pitch) for pitch in (48, 55, 64)), (7, 1, 60))
    played = articulate(notes, bars, np.full(2, np.nan), np.full(2, 3.0))
    assert polyphony(played, bars) == pytest.approx([3.0, 2.5])


def test_a_note_before_a_rest_is_not_held_through_it():
    notes = piece((0, 1, 60), (1, 1, 60), (12, 1, 60))  # two bars of rest
    played = articulate(notes, four_four(4), np.full(4, 0.8))
    assert played.duration[1] == pytest.approx(0.8 * 4)  # a bar, not eleven quarters


def test_in_short_bars_notes_reach_a_whole_note():
    meter = Meter(0.0, 2, 4)
    bars = Bars(2.0 * np.arange(7.0), (meter,) * 6)
    slow = piece(*((3.0 * i, 1.0, 60) for i in range(4)), meter=meter)
    played = articulate(slow, bars, np.full(6, 0.9))
    assert legato_ratio(played)[:3] == pytest.approx(np.full(3, 0.9))


@given(st.lists(st.floats(0.1, 3.0), min_size=1, max_size=5), st.floats(0.3, 1), st.floats(1, 6))
def test_room_for_polyphony_keeps_the_mean_ratio(lengths, asked, wanted):
    bars, notes = four_four(2), chords(2, *lengths)
    played = articulate(notes, bars, np.full(2, asked), np.full(2, wanted))
    apart = legato_ratio(played)[: 4 * len(lengths)].mean()
    alone = legato_ratio(articulate(notes, bars, np.full(2, asked)))[: 4 * len(lengths)].mean()
    assert apart == pytest.approx(alone, abs=0.06)  # the shortest note a player can let sound
    assert (played.duration > 0).all()


def test_articulation_keeps_the_differences_within_a_bar():
    bars = four_four(2)
    notes = piece((0, 1, 60), (1, 0.5, 62), (2, 1, 64), (3, 0.5, 65), (4, 1, 67))
    ratio = legato_ratio(articulate(notes, bars, np.array([0.6, np.nan])))
    assert ratio[:4].mean() == pytest.approx(0.6)
    assert ratio[0] == ratio[2] > ratio[1] == ratio[3]


def test_open_articulation_leaves_a_bar_alone():
    notes = scale(2)
    played = articulate(notes, four_four(2), np.full(2, np.nan))
    np.testing.assert_array_equal(played.duration, notes.duration)


def test_notes_that_overlap_stay_held_where_legato_is_asked():
    notes = piece((0, 3, 48), (0, 1, 60), (1, 1, 62), (2, 1, 64), (4, 1, 65))
    assert articulate(notes, four_four(2), np.ones(2)).duration[0] == 3


def test_instruments_do_not_cut_each_other():
    notes = piece((0, 4, 48, 48), (1, 0.5, 60, 0), (2, 0.5, 62, 0), (4, 1, 48, 48), (4, 1, 64, 0))
    played = articulate(notes, four_four(2), np.ones(2))
    assert played.duration[[0, 1]].tolist() == [4, 1]


# ---------------------------------------------------------------- keys and the end


def test_a_key_struck_again_is_released_first():
    notes = piece((0, 4, 60), (1, 1, 60), (1.5, 2, 60), (0, 4, 61), (1, 2, 60, 48))
    assert release_restruck(notes).duration.tolist() == [1, 0.5, 2, 4, 2]


@pytest.mark.parametrize("end", [7.3, 8.0, 9.7])
def test_the_end_is_exact(end):
    notes = piece((0, 2, 60), (5, 1, 62), (6, 9, 64), (6, 0.5, 67), (7.95, 1, 72))
    played = end_at(notes, four_four(2), end)
    assert played.end == pytest.approx(end, abs=1e-9)
    assert len(played) == (5 if end > 8.01 else 4)  # the last would hardly begin before 8
    assert (played.duration > 0).all()
    assert played.duration[0] == 2
    assert played.duration[3] == 0.5  # what is released before the end is not held


def test_an_empty_last_bar_holds_what_came_before():
    played = end_at(piece((0, 1, 60), (1, 1, 62)), four_four(2), 7.0)
    assert played.release.tolist() == [1, 7]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 12 * 4 * 4 - 1), st.integers(1, 192), st.integers(40, 80),
            st.sampled_from([0, 48, 73]),
        ),
        max_size=40, unique_by=lambda row: (row[0], row[2], row[3]),
    ),
    st.floats(10, 16), st.floats(40, 120), st.none() | st.floats(0.2, 1.0),
    st.none() | st.floats(0, 1),
)  # fmt: skip
def test_whatever_is_composed_can_be_played(rows, duration_s, tempo, articulation, energy):
    """No note of no length, none struck while it sounds, none after the end, which is exact."""
    rows = [(0, 1, 60, 0), *(row for row in rows if row[0])]
    values = {"articulation": articulation, "energy": energy, "tempo": tempo}
    asked = Prescription.from_dict(
        {
            "duration_s": 2 * duration_s,
            "instruments": ["piano", "choir", "flute"],
            "key": "F#",
            **{name: value for name, value in values.items() if value is not None},
        }
    )
    laid = plan(asked)
    notes = piece(*((onset / 12, length / 12, pitch, of) for onset, length, pitch, of in rows))
    notes = replace(
        notes.sort(), program=np.where(notes.sort().program == 48, 52, notes.sort().program)
    )
    played = perform(notes, laid)
    assert played.end == pytest.approx(laid.end_quarters, abs=1e-9)
    assert played.end_seconds == pytest.approx(asked.music_s, abs=1e-6)
    assert (played.duration > 1 / 480).all()
    order = np.lexsort((played.onset, played.pitch, played.program))
    n = played.select(order)
    same = (np.diff(n.program) == 0) & (np.diff(n.pitch) == 0)
    assert (n.onset[1:] >= n.release[:-1] - 1e-9)[same].all()


def test_a_performance_is_in_the_asked_key_on_the_asked_instruments():
    asked = Prescription.from_dict(
        {"duration_s": 20, "key": "D", "mode": "major", "instruments": ["cello", "celesta"]}
    )
    notes = piece((0, 1, 60, FAMILIES["strings"]), (0, 1, 72, FAMILIES["bells"]))
    played = perform(notes, plan(asked))
    assert played.pitch.tolist() == [74, 62]  # D, sorted by program: celesta 8, cello 42
    assert played.program.tolist() == [8, 42]


def test_nothing_composed_is_nothing_played():
    empty = scale(1).select(np.zeros(4, dtype=bool))
    assert len(perform(empty, plan(Prescription(duration_s=20)))) == 0


def test_an_articulation_that_only_energy_implies_gives_way_to_polyphony():
    """Three notes on every beat sound as one and a half, but not where legato is asked."""
    notes = piece(*((b, 0.9, 48 + b % 4 + 7 * v) for b in range(24) for v in range(3)))
    values = {"duration_s": 24, "tempo": 60, "meter": "4/4", "instruments": ["piano"]}
    values |= {"key": "C", "mode": "major", "energy": 0.4, "polyphony": 1.5}

    def heard(**more):
        laid = plan(Prescription.from_dict(values | more))
        return polyphony(perform(notes, laid), laid.bars)[:-1]  # the last chord is held to the end

    assert heard() == pytest.approx(np.full(5, 1.5), abs=0.1)
    assert (heard(articulation=0.9) > 1.8).all()
