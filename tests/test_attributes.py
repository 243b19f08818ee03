"""Attributes: bars computed by hand, what is missing, and agreement with the etudes' truth."""

from __future__ import annotations

import numpy as np
import pytest

from sonicrx_ml import attributes, canonical, emotion, etudes, keys
from sonicrx_ml.attributes import NAMES, measure
from sonicrx_ml.notes import DRUMS, Meter, Notes, TempoMap
from sonicrx_ml.palette import FAMILIES


def piece(rows: list[tuple[float, float, int, int, int]], bpm: float = 60.0, **more) -> Notes:
    """Rows of (onset, duration, pitch, velocity, program)."""
    onset, duration, pitch, velocity, program = (np.array(c) for c in zip(*rows, strict=True))
    more = {"tempo": TempoMap(bpm=np.array([bpm])), **more}
    times = onset.astype(np.float64), duration.astype(np.float64)
    return Notes(*times, pitch, velocity, program, **more).sort()


def measured(notes: Notes, **options) -> dict[str, np.ndarray]:
    return measure(notes, notes.bars(), **{"mode": "major", **options})


# Four bars of 4/4 at 60 BPM, velocities 32 and 64. Bar 1: a C major chord held while the top moves;
# bar 2: two staccato quarters; bar 3: nothing; bar 4: F sharp and G of equal length.
HAND = piece(
    [
        (0, 4, 48, 64, 0), (0, 2, 60, 64, 0), (2, 2, 64, 64, 0),
        (4, 0.5, 60, 32, 0), (5, 0.5, 62, 64, 0),
        (12, 2, 66, 64, 0), (14, 2, 67, 64, 0),
    ]
)  # fmt: skip


def test_density_counts_onsets_not_notes() -> None:
    assert measured(HAND)["density"].tolist() == [2 / 4, 2 / 4, 0, 2 / 4]


def test_polyphony_is_over_the_sounding_time() -> None:
    """Bar 1: two notes throughout; bar 2: one note during one of four beats."""
    assert measured(HAND)["polyphony"].tolist() == [2, 1, 0, 1]


def test_polyphony_counts_what_rings_on() -> None:
    """A note of six beats under one of two: 8 note-beats over 4, then 2 over 2."""
    notes = piece([(0, 6, 48, 64, 0), (0, 2, 60, 64, 0), (7, 1, 60, 64, 0)])
    np.testing.assert_allclose(measured(notes)["polyphony"], [6 / 4, 3 / 3])


def test_register_is_the_mean_pitch_of_onsets() -> None:
    np.testing.assert_allclose(measured(HAND)["register"], [(48 + 60 + 64) / 3, 61, np.nan, 66.5])


def test_articulation() -> None:
    """Bar 1: 4/2 and 2/2 count as 1, 2 of 2 as 1; bar 2: .5 of 1 and .5 of 7; bar 4: last is 1."""
    np.testing.assert_allclose(measured(HAND)["articulation"], [1, (0.5 + 0.5 / 7) / 2, np.nan, 1])


def test_articulation_is_within_an_instrument() -> None:
    """The piano's chord is not cut short by the flute that enters meanwhile."""
    notes = piece([(0, 2, 60, 64, 0), (1, 1, 72, 64, 73), (4, 4, 60, 64, 0), (2, 2, 74, 64, 73)])
    np.testing.assert_allclose(attributes.legato_ratio(notes), [0.5, 1, 1, 1])


def test_chromaticism() -> None:
    """F sharp is half of bar 4. G sharp belongs to A minor, not to C major."""
    np.testing.assert_allclose(measured(HAND)["chromaticism"], [0, 0, np.nan, 0.5])
    raised = piece([(0, 3, 69, 64, 0), (3, 1, 68, 64, 0)])
    np.testing.assert_allclose(measured(raised, mode="minor")["chromaticism"], [0])
    np.testing.assert_allclose(measured(raised, mode="major")["chromaticism"], [0.25])


def test_loudness_law() -> None:
    """Velocity 32 is 40 log10(1/2) = -12.04 dB; its bar has one of 32 and one of 64."""
    np.testing.assert_allclose(measured(HAND)["loudness"], [0, -6.0206, np.nan, 0], atol=1e-4)


def test_tempo_is_in_felt_beats() -> None:
    """Dotted quarters in 6/8; over a bar in which the tempo changes, beats over seconds."""
    notes = piece([(0, 1, 60, 64, 0), (3, 1, 60, 64, 0)], bpm=90, meters=(Meter(0, 6, 8),))
    np.testing.assert_allclose(measured(notes)["tempo"], [60, 60])
    halves = TempoMap(np.array([0.0, 2.0]), np.array([120.0, 60.0]))
    changing = piece([(0, 1, 60, 64, 0), (4, 1, 60, 64, 0)], tempo=halves)
    np.testing.assert_allclose(measured(changing)["tempo"], [4 / 3 * 60, 60])


def test_density_is_per_felt_beat() -> None:
    notes = piece([(i / 2, 0.5, 60, 64, 0) for i in range(6)], meters=(Meter(0, 6, 8),))
    assert measured(notes)["density"].tolist() == [3.0]


def test_energy_is_the_published_model_on_the_bar() -> None:
    """Bar 2: 2 onsets in 4 s, articulation and register as above, at 0 dB."""
    values = measured(HAND)
    wanted = emotion.energy(0.5, 0.0, (0.5 + 0.5 / 7) / 2, 61.0)
    np.testing.assert_allclose(values["energy"][1], wanted)
    np.testing.assert_allclose(values["energy"][0], emotion.energy(0.5, 0.0, 1.0, 172 / 3))
    faster = measured(piece([(0.25 * i, 0.25, 60, 64, 0) for i in range(16)], bpm=120))
    slower = measured(piece([(float(i), 1.0, 60, 64, 0) for i in range(4)], bpm=60))
    assert faster["energy"][0] > slower["energy"][0]


def test_mode_of_plain_cadences() -> None:
    def chords(*roots: tuple[int, int, int]) -> Notes:
        return piece([(4.0 * i, 4, p, 64, 0) for i, chord in enumerate(roots) for p in chord])

    major = chords((60, 64, 67), (65, 69, 72), (67, 71, 74), (60, 64, 67))
    minor = chords((57, 60, 64), (62, 65, 69), (64, 68, 71), (57, 60, 64))
    assert (measured(major)["mode"] > 0.65).all()
    assert (measured(minor, mode="minor")["mode"] < 0.35).all()


def test_key_of_the_bars_around() -> None:
    """Eleven bars of C major cadences, a silence, and eleven in A minor with its raised seventh."""
    major = [(48, 64, 67, 72), (53, 60, 65, 69), (43, 62, 67, 71)]
    minor = [(45, 60, 64, 69), (50, 62, 65, 69), (40, 64, 68, 71)]
    rows = [(4.0 * i, 4.0, p, 64, 0) for i in range(11) for p in major[i % 3]]
    rows += [(4.0 * (i + 22), 4.0, p, 64, 0) for i in range(11) for p in minor[i % 3]]
    notes = piece(rows)
    key = attributes.categorise(notes, notes.bars())["key"]
    assert set(key[:11]) == {0}
    assert set(key[22:]) == {12 + 9}
    assert key[16] == -1
    local = keys.local_modes(notes, notes.bars())
    assert ((local > 0.5) == (key < 12))[key >= 0].all()


def test_families_that_sound_in_a_bar() -> None:
    """A piano note held over the bar line, a flute in the second bar; no timpani, no drums."""
    notes = piece(
        [(0, 6, 60, 64, 0), (4, 4, 72, 64, 73), (8, 4, 45, 64, 47), (8, 4, 38, 64, DRUMS)]
    )
    names = list(FAMILIES)
    piano, flute = 1 << names.index("piano"), 1 << names.index("flute")
    found = attributes.categorise(notes, notes.bars())["families"]
    assert found.tolist() == [piano, piano | flute, 0]


def test_every_attribute_is_named_with_unit_meaning_and_source() -> None:
    found = {a.name for a in attributes.ATTRIBUTES if a.unit and a.meaning and a.source}
    computed = {*measured(HAND), *attributes.categorise(HAND, HAND.bars())}
    assert found == computed
    assert len(found) == len(attributes.ATTRIBUTES)


# ---------------------------------------------------------------- missing


def test_every_attribute_is_measured() -> None:
    values = measured(HAND)
    assert tuple(values) == NAMES
    assert all(column.shape == (4,) for column in values.values())


def missing(values: dict[str, np.ndarray]) -> set[str]:
    return {name for name, column in values.items() if np.isnan(column).all()}


def test_placeholder_tempo() -> None:
    assert missing(measured(HAND)) == set()
    assert missing(measured(HAND, tempo_known=False)) == {"tempo", "energy"}


def test_meaningless_bars() -> None:
    assert missing(measured(HAND, bars_known=False)) == {"density", "mode"}


def test_flat_velocity() -> None:
    flat = piece([(i, 1, 60 + i, 64 + i % 2, 0) for i in range(8)])
    assert missing(measured(flat)) == {"loudness"}


def test_empty_bar_has_density_and_polyphony_0_and_no_more_of_notes() -> None:
    values = measured(HAND)
    empty = {name for name, column in values.items() if np.isnan(column[2])}
    assert empty == {"register", "articulation", "chromaticism", "loudness", "energy"}


def test_drums_do_not_count() -> None:
    drums = [(0.5 * i, 0.1, 36, 100, DRUMS) for i in range(32)]
    rows = np.column_stack([HAND.onset, HAND.duration, HAND.pitch, HAND.velocity, HAND.program])
    with_drums = piece([tuple(row) for row in rows.tolist()] + drums)
    for name, column in measured(with_drums).items():
        np.testing.assert_array_equal(column, measured(HAND)[name], err_msg=name)


# ---------------------------------------------------------------- etudes

ETUDES = [
    (0, {"meter": "4/4", "mode": "major"}),
    (1, {"meter": "3/4", "mode": "minor", "texture": "waltz"}),
    (2, {"meter": "6/8", "mode": "major", "texture": "alberti"}),
    (3, {"meter": "2/4", "mode": "minor", "texture": "hymn"}),
    (5, {"meter": "4/4", "mode": "minor", "texture": "counterpoint"}),
]


@pytest.mark.parametrize(("seed", "fixed"), ETUDES)
def test_agreement_with_the_truth_of_etudes(seed: int, fixed: dict) -> None:
    etude = etudes.compose(seed, **fixed)
    shift = (0 if etude.mode == "major" else 9) - etude.tonic
    notes = canonical.into_range(etude.notes.transpose(shift))
    values = measured(notes, mode=etude.mode)
    np.testing.assert_allclose(values["tempo"], etude.bpm, rtol=1e-6)
    np.testing.assert_allclose(values["density"], etude.onsets)
    minor = np.nanmean(values["mode"]) < 0.5
    assert minor == (etude.mode == "minor")
    assert np.nanmean(values["chromaticism"]) < 0.1


def brute_force_polyphony(notes: Notes, start: float, end: float) -> float:
    """Mean number sounding over the sounding time, on a fine comb of instants."""
    instants = np.arange(start, end, 1 / 96) + 1 / 192
    sounding = (notes.onset[:, None] <= instants) & (notes.release[:, None] > instants)
    count = sounding.sum(axis=0)
    return float(count[count > 0].mean()) if (count > 0).any() else 0.0


def test_polyphony_against_counting_instants() -> None:
    notes = canonical.playable(etudes.compose(4, texture="block", form="ABA").notes)
    bars = notes.bars()
    grid = canonical.snap(notes, bars)
    notes = canonical.unsnap(grid, bars)
    slow = [brute_force_polyphony(notes, *bars.edges[i : i + 2]) for i in range(len(bars))]
    np.testing.assert_allclose(attributes.polyphony(notes, bars), slow, rtol=1e-9)
