"""Prescriptions, curves and the plan of bars: validation, round trips, exact time."""

import json
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from sonicrx_ml import palette
from sonicrx_ml.curve import Curve
from sonicrx_ml.plan import TARGETS, arrangement, at_once, plan
from sonicrx_ml.prescription import CONTROLS, METERS, Control, Prescription, vocabulary


def asking(**asked: Any) -> Prescription:
    return Prescription.from_dict(asked)


# ---------------------------------------------------------------- strategies


MOTIF = {
    "mode": "major", "meter": "3/4", "bars": 2, "degree": [0, 1, 2, 0], "alter": [0, 0, 0, 0],
    "onset": [0.0, 1.0, 2.0, 3.0], "length": [1.0, 1.0, 1.0, 3.0],
}  # fmt: skip


def curves(control: Control) -> st.SearchStrategy[object]:
    level = st.floats(control.low, control.high)
    ticks = st.lists(st.integers(0, 10**5), min_size=1, max_size=5, unique=True).map(sorted)
    points = ticks.flatmap(
        lambda at: st.tuples(*[st.tuples(st.just(t / 10**5), level) for t in at])
    )
    return level | st.tuples(level, level).map(list) | points.map(list)


def values(control: Control) -> st.SearchStrategy[object]:
    match control.kind:
        case "curve":
            return curves(control)
        case "choice":
            return st.sampled_from(control.legal)
        case "integer":
            return st.integers(int(control.low), int(control.high))
        case "number":
            return st.floats(control.low, control.high)
        case "name":
            return st.sampled_from(["anxiety", "mood_lift"])
        case "instruments":
            return instruments()
        case "motif":
            return st.just(MOTIF)
        case "times":
            return st.floats(0, 1) | st.just([0.0, 0.4])


@st.composite
def instruments(draw: st.DrawFn) -> list[str]:
    families = draw(st.lists(st.sampled_from(list(palette.FAMILIES)), min_size=1, unique=True))
    return [
        draw(st.sampled_from([name for name, (_, f) in palette.PALETTE.items() if f == family]))
        for family in families
    ]


@st.composite
def prescriptions(draw: st.DrawFn) -> Prescription:
    asked: dict[str, Any] = {
        name: draw(values(control))
        for name, control in CONTROLS.items()
        if name != "duration_s" and draw(st.booleans())
    }
    if "anchor" not in asked:
        asked.pop("anchor_at", None)
    asked["duration_s"] = draw(st.floats(10, 7200) | st.floats(10, 60))
    asked["final_silence_s"] = min(asked.get("final_silence_s", 0.0), asked["duration_s"] - 10)
    try:
        return Prescription.from_dict(asked)
    except ValueError as refused:
        assume(not re.search("bars of music|breaths in|may startle|turns back", str(refused)))
        raise


# ---------------------------------------------------------------- curves


@pytest.mark.parametrize(
    ("value", "points"),
    [
        (3, ((0, 3), (1, 3))),
        ([3, 5], ((0, 3), (1, 5))),
        ([[0, 3], [0.5, 4], [1, 2]], ((0, 3), (0.5, 4), (1, 2))),
        ([[0.25, 3], [0.5, 4]], ((0, 3), (0.25, 3), (0.5, 4), (1, 4))),
        ([[0.5, 3]], ((0, 3), (0.5, 3), (1, 3))),
    ],
)
def test_curve_forms(value: object, points: object):
    curve = Curve.of(value)
    assert curve.points == points
    assert Curve.of(curve.to_json()) == curve
    assert len({curve, Curve(curve.points)}) == 1


@pytest.mark.parametrize(
    "value",
    ["60", [], [1], [1, 2, 3], [[0, 1], [0, 2]], [[1, 1], [0, 2]], [[0, 1], [1.5, 2]], True, None,
     [1, None], [[0, float("nan")]], float("inf"), [[0, 10**400]], {"0": 1},
     [[0, 1], [1e-9, 2]], [[1e-300, 1]]],
)  # fmt: skip
def test_what_is_not_a_curve_is_refused(value: object):
    with pytest.raises(ValueError, match=r"tempo .* is not a curve; legal are a number"):
        Curve.of(value, "tempo")


@pytest.mark.parametrize("points", [(), ((0.0, 1.0),), ((0.0, 1.0), (0.5, 1.0))])
def test_a_curve_spans_the_whole(points: tuple[tuple[float, float], ...]):
    with pytest.raises(ValueError, match="legal rise from 0 to 1 in steps"):
        Curve(points)


def test_integral_and_means_by_hand():
    # a triangle: 0 -> 2 -> 0 has area 1, half of it before the peak
    curve = Curve.of([[0, 0], [0.5, 2], [1, 0]])
    assert curve.integral([0.0, 0.25, 0.5, 1.0]) == pytest.approx([0.0, 0.125, 0.5, 1.0])
    assert curve.means(np.array([0.0, 0.25, 0.5, 1.0])) == pytest.approx([0.5, 1.5, 1.0])
    assert curve([0.25, 0.75]) == pytest.approx([1.0, 1.0])


@given(curves(CONTROLS["tempo"]), st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_inverse_of_the_integral(value: object, fractions: list[float]):
    curve = Curve.of(value)
    assert curve.invert_integral(curve.integral(fractions)) == pytest.approx(fractions, abs=1e-9)


# ---------------------------------------------------------------- validation


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"duration_s": 9.9}, "duration_s 9.9; legal are 10 to 7200 s"),
        ({"duration_s": float("nan")}, "duration_s nan; legal are 10 to 7200 s"),
        ({"duration_s": True}, "duration_s True; legal are 10 to 7200 s"),
        ({"duration_s": None}, "duration_s None; legal are 10 to 7200 s"),
        ({"tempo": [60, 300]}, "tempo 300 at fraction 1; legal are 40 to 210 BPM"),
        ({"density": 0}, "density 0 at fraction 0; legal are 0.2 to 8 onsets/s"),
        ({"polyphony": 9}, "polyphony 9 at fraction 0; legal are 1 to 8 notes"),
        ({"energy": [[0.5, 1.1]]}, "energy 1.1 at fraction 0; legal are 0 to 1"),
        ({"register": 39}, "register 39 .*legal are 40 to 84 MIDI pitch"),
        ({"articulation": 0.1}, "articulation 0.1 .*legal are 0.2 to 1"),
        ({"chromaticism": 0.6}, "chromaticism 0.6 .*legal are 0 to 0.5"),
        ({"key": "H"}, "key 'H'; legal are C, Db, D, Eb, E, F, F#, G, Ab, A, Bb, B"),
        ({"mode": "dorian"}, "mode 'dorian'; legal are major, minor"),
        ({"meter": "5/4"}, "meter '5/4'; legal are 4/4, 3/4, 2/4, 6/8"),
        ({"instruments": ["kazoo"]}, "instruments 'kazoo'; legal are piano, electric_piano"),
        ({"instruments": []}, r"instruments \[\]; legal are piano"),
        ({"instruments": ["violin", "cello"]}, "'violin' and 'cello' are both of the family 'str"),
        ({"instruments": 5}, "instruments 5; legal are piano"),
        ({"final_silence_s": 121}, "final_silence_s 121; legal are 0 to 120 s"),
        ({"final_silence_s": 51}, "final_silence_s 51 leaves 9 s of music .* up to 50 s"),
        ({"target_lufs": -10}, "target_lufs -10; legal are -40 to -14 LUFS"),
        ({"playback_db_spl": 90}, "playback_db_spl 90; legal are 40 to 85 dB SPL"),
        ({"seed": 2**31}, "seed 2147483648; legal are whole numbers 0 to 2147483647"),
        ({"seed": 1.5}, "seed 1.5; legal are whole numbers"),
        ({"seed": None}, "seed None; legal are whole numbers"),
        ({"goal": "No Such"}, "goal 'No Such'; legal are lower-case letters"),
        ({"volume": 3}, "unknown control 'volume'; legal are duration_s, goal, tempo"),
        ({"duration_s": 10, "tempo": 40}, "duration_s 10 holds 1.67 bars .* at least 2"),
    ],
)
def test_illegal_values_are_refused_with_the_legal_ones(asked: dict[str, object], message: str):
    with pytest.raises(ValueError, match=message):
        Prescription.from_dict({"duration_s": 60} | asked)


def test_duration_is_required():
    with pytest.raises(ValueError, match="duration_s is required; legal are 10 to 7200 s"):
        Prescription.from_dict({"tempo": 60})


@pytest.mark.parametrize("name", list(CONTROLS))
def test_the_ends_of_every_range_are_legal(name: str):
    control = CONTROLS[name]
    for value in control.legal or (control.low, control.high):
        if control.kind in ("name", "motif", "times"):
            continue
        asked = {"duration_s": 200} | {name: int(value) if name == "seed" else value}
        assert getattr(Prescription.from_dict(asked), name) is not None


@pytest.mark.parametrize(
    ("spelling", "key"),
    [("C#", "Db"), ("D#", "Eb"), ("Gb", "F#"), ("G#", "Ab"), ("A#", "Bb"), ("Cb", "B"),
     ("B#", "C"), ("e", "E"), ("B♭", "Bb"), ("f♯", "F#")],
)  # fmt: skip
def test_enharmonic_spellings(spelling: str, key: str):
    assert asking(duration_s=60, key=spelling).key == key


def test_defaults_are_those_of_the_table():
    found = asking(duration_s=60)
    for name, control in CONTROLS.items():
        if name != "duration_s":
            assert getattr(found, name) == control.default


# ---------------------------------------------------------------- JSON


@given(prescriptions())
def test_json_round_trip(prescription: Prescription):
    text = prescription.to_json()
    again = Prescription.from_json(text)
    assert again == prescription
    assert again.to_json() == text
    assert again.id == prescription.id
    assert hash(again) == hash(prescription)


def test_canonical_json_and_id():
    one = Prescription.from_json('{"tempo": [60, 60], "duration_s": 60, "key": "C#"}')
    two = asking(duration_s=60.0, key="Db", tempo=Curve.of(60))
    assert one.to_json() == two.to_json()
    assert json.loads(one.to_json())["tempo"] == 60
    # sha256 of the text, by coreutils:
    # {"duration_s":60.0,"final_silence_s":0.0,"key":"Db","playback_db_spl":65.0,"seed":0,
    #  "target_lufs":-23.0,"tempo":60.0} without the line break
    assert one.id == "b24a6a98e225"
    assert one.id != asking(duration_s=60, key="Db", tempo=61).id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"duration_s": 60, "speed": 1}', "unknown control 'speed'"),
        ('{"duration_s": NaN}', "duration_s nan; legal"),
        ('{"duration_s": 1e999}', "duration_s inf; legal"),
        ('{"duration_s": "60"}', "duration_s '60'; legal"),
        ("[60]", "a prescription is a JSON object, not list"),
        ("duration_s=60", "Expecting value"),
    ],
)
def test_json_is_read_strictly(text: str, message: str):
    with pytest.raises(ValueError, match=message):
        Prescription.from_json(text)


# ---------------------------------------------------------------- plan: time


@given(prescriptions())
@example(asking(duration_s=10))
@example(asking(duration_s=10, meter="4/4", tempo=48))
@example(asking(duration_s=7200, tempo=210, meter="2/4"))
@example(asking(duration_s=7200, tempo=[[0.1, 40], [0.10001, 210]], meter="6/8"))
@example(asking(duration_s=130, final_silence_s=120, tempo=[210, 40]))
@settings(deadline=None, max_examples=60)
def test_a_plan_lasts_exactly_and_follows_the_curve(prescription: Prescription):
    laid, prescription = plan(prescription), prescription.laid()
    n = len(laid)
    music = prescription.duration_s - prescription.final_silence_s
    felt = laid.bars.meters[0].felt_beat
    # duration: the tempo map reaches the end at the asked second, and every bar line at its time
    starts = np.append(laid.bars.edges[:-1], laid.end_quarters)
    assert_allclose(laid.tempo.seconds(starts), laid.seconds, rtol=0, atol=1e-6)
    assert laid.seconds[-1] == pytest.approx(music, abs=1e-9)
    # tempo: at every beat the count of beats is the integral of the curve, by brute force
    seconds = laid.tempo.seconds(laid.tempo.start)
    curve = Curve.of(72) if prescription.tempo is None else prescription.tempo
    corners = [fraction * music for fraction, _ in curve.points]
    grid = np.union1d(seconds, corners)
    bpm = curve(grid / music)
    beats = np.concatenate([[0], np.cumsum(np.diff(grid) * (bpm[1:] + bpm[:-1]) / 120)])
    counted = np.interp(seconds, grid, beats)
    assert_allclose(laid.tempo.start / felt, counted, rtol=1e-9, atol=1e-5)
    # bars: at least two, the music ends within half a bar of the last bar line
    bar = laid.bars.meters[0].quarters
    assert n >= 2
    assert list(laid.remaining) == list(range(n, 0, -1))
    assert_allclose(laid.bars.edges, bar * np.arange(n + 1))
    assert -bar / 2 - 1e-6 <= laid.end_quarters - laid.bars.edges[-1] < bar / 2 + 1e-6
    assert (np.diff(laid.seconds) > 0).all()


@given(prescriptions())
@settings(deadline=None, max_examples=60)
def test_targets_are_what_is_asked(prescription: Prescription):
    laid, prescription = plan(prescription), prescription.laid()
    assert tuple(laid.targets) == TARGETS
    edges = laid.seconds / prescription.music_s
    for name, found in laid.targets.items():
        assert found.shape == (len(laid),)
        asked = getattr(prescription, name)
        if asked is None:
            assert np.isnan(found).all() != (name in laid.derived)
        else:
            assert name not in laid.derived
            assert np.isfinite(found).all()
    for name, unit in (("polyphony", 1.0), ("chromaticism", 1.0), ("density", laid.bpm / 60)):
        asked = getattr(prescription, name)
        if asked is not None:
            assert_allclose(laid.targets[name] * unit, asked.means(edges), atol=1e-9)
    assert (np.abs(laid.loudness_db) <= 10).all()
    assert prescription.energy is not None or (laid.loudness_db == 0).all()
    assert set(laid.programs) == set(laid.families)


def test_plan_by_hand():
    # 60 BPM in 4/4 for 22 s: five bars and half a bar, so a sixth bar is begun and cut
    laid = plan(asking(duration_s=30, final_silence_s=8, tempo=60))
    assert len(laid) == 6
    assert laid.end_quarters == pytest.approx(22)
    assert laid.seconds == pytest.approx([0, 4, 8, 12, 16, 20, 22])
    assert laid.bpm == pytest.approx(np.full(6, 60.0))
    # 21 s: a quarter of a bar over, so the fifth bar is held
    laid = plan(asking(duration_s=21, tempo=60))
    assert len(laid) == 5
    assert laid.end_quarters == pytest.approx(21)
    assert laid.seconds == pytest.approx([0, 4, 8, 12, 16, 21])


def test_a_linear_tempo_by_hand():
    # 60 -> 120 BPM over 40 s is 60 beats; after 20 s the tempo is 90 and 25 beats have passed
    laid = plan(asking(duration_s=40, tempo=[60, 120], meter="3/4"))
    assert len(laid) == 20
    assert laid.end_quarters == pytest.approx(60)
    assert laid.tempo.seconds(np.array([25.0])) == pytest.approx([20.0])


def test_the_felt_beat_of_six_eight_is_a_dotted_quarter():
    laid = plan(asking(duration_s=60, tempo=60, meter="6/8"))
    assert laid.bpm == pytest.approx(np.full(30, 60.0))
    assert laid.tempo.bpm == pytest.approx(np.full(60, 90.0))  # quarters a minute
    assert laid.end_quarters == pytest.approx(90)


@pytest.mark.parametrize("meter", METERS)
@pytest.mark.parametrize("duration_s", [10.0, 7200.0])
@pytest.mark.parametrize("bpm", [48, 210])
def test_shortest_and_longest(meter: str, duration_s: float, bpm: float):
    laid = plan(asking(duration_s=duration_s, tempo=bpm, meter=meter))
    per_bar = {"4/4": 4, "3/4": 3, "2/4": 2, "6/8": 2}[meter]
    assert len(laid) == int(duration_s * bpm / 60 / per_bar + 0.5)
    assert laid.tempo.seconds(np.array([laid.end_quarters])) == pytest.approx([duration_s])


# ---------------------------------------------------------------- plan: key, sound, energy


@pytest.mark.parametrize(
    ("key", "mode", "semitones"),
    [("C", "major", 0), ("G", "major", -5), ("F", "major", 5), ("F#", "major", -6),
     ("A", "minor", 0), ("E", "minor", -5), ("D", "minor", 5), ("Eb", "minor", -6),
     ("C", "minor", 3), ("D", None, 2), (None, "minor", 0), (None, None, 0)],
)  # fmt: skip
def test_transposition(key: str | None, mode: str | None, semitones: int):
    laid = plan(asking(duration_s=60, key=key, mode=mode, register=60))
    assert laid.transposition == semitones
    assert laid.targets["register"] == pytest.approx(np.full(len(laid), 60.0 - semitones))
    assert laid.mode == (mode or ("major" if key else None))
    assert ("mode" in laid.derived) == (key is not None and mode is None)


def test_palette_becomes_families_and_programs():
    laid = plan(asking(duration_s=60, instruments=("harpsichord", "cello")))
    assert laid.families == ("piano", "strings")
    assert laid.programs == {"piano": 6, "strings": 42}
    assert plan(asking(duration_s=60)).programs == {"piano": 0}


def drawn(bars: int, families: int) -> list[str]:
    """One line per family, # where it plays."""
    return ["".join(".#"[int(plays)] for plays in row) for row in arrangement(bars, families).T]


def test_instruments_enter_by_phrases_and_rest_in_turn():
    assert drawn(28, 1) == ["#" * 28]
    assert drawn(12, 2) == ["#" * 12, "...#########"]
    assert drawn(32, 3) == [
        "################################",
        "....############....############",
        "........################....####",
    ]


@given(st.integers(1, 400), st.integers(1, 12))
def test_the_lead_never_rests_and_all_play_at_the_end(bars, families):
    found = arrangement(bars, families)
    assert found.shape == (bars, families)
    assert found[:, 0].all()
    assert found[-1].all()
    assert found[: bars // 2 + 1].any(axis=0).all()  # all have entered by the middle
    assert (found.sum(axis=1) >= min(2, families) * (np.arange(bars) > bars // 2)).all()


def test_where_there_is_room_for_few_they_take_turns():
    found = arrangement(16, 3, at_once=np.repeat([1.0, 2.0], 8))
    assert ["".join(".#"[int(plays)] for plays in row) for row in found.T] == [
        "####....########",
        "....####....####",
        "........####....",
    ]


@given(st.lists(st.integers(0, 14), min_size=1, max_size=200), st.integers(1, 12))
@example([2] * 4 + [1] * 14, 3)  # one that enters within a turn is not chosen for it
def test_no_more_play_at_once_than_there_is_room_for(rooms, families):
    bars, room = len(rooms), np.array(rooms)
    free = arrangement(bars, families)
    found = arrangement(bars, families, at_once=room.astype(float))
    assert not (found & ~free).any()
    assert found.any(axis=1).all()
    assert found.any(axis=0).all()
    turn = max(1, min(4, bars // families))
    assert (found.sum(axis=1) <= np.maximum(room, 1))[:-turn].all()


@pytest.mark.parametrize(
    ("polyphony", "articulation", "expected"),
    [(1.5, 0.95, 1), (3, 1, 3), (2, 0.5, 3), (2, None, 2), (None, 0.9, np.inf)],
)
def test_room_for_families(polyphony, articulation, expected):
    """Notes held between onsets: halfway from the polyphony to it over the articulation."""
    asked = {"polyphony": polyphony, "articulation": articulation}
    targets = {name: np.array([np.nan if v is None else v]) for name, v in asked.items()}
    assert at_once(targets).tolist() == [expected]


def test_the_leading_family_plays_its_anchor():
    thin = {"polyphony": 1, "articulation": 1.0, "instruments": ("piano", "cello")}
    laid = plan(asking(duration_s=120, tempo=60, meter="3/4", anchor=MOTIF, **thin))
    assert not laid.playing[:, 0].all()
    for place in laid.anchors:
        assert laid.playing[laid.bars.index(place.onset), 0].all()


def test_energy_alone_fills_in_density_articulation_and_loudness():
    # the middle of the diagonal: 1.2 * sqrt(5) onsets a second, half legato, 0 dB
    laid = plan(asking(duration_s=60, tempo=60, energy=0.5))
    assert {"density", "articulation"} <= laid.derived
    assert laid.targets["density"] == pytest.approx(np.full(15, 1.2 * 5**0.5))
    assert laid.targets["articulation"] == pytest.approx(np.full(15, 0.5))
    assert laid.loudness_db == pytest.approx(np.zeros(15), abs=1e-9)
    assert laid.targets["energy"] == pytest.approx(np.full(15, 0.5))


def test_energy_in_label_units_is_at_0_db():
    # softest corner: only the loudness of +10 dB against -10 dB is missing, 0.555 / 3.7700774
    laid = plan(asking(duration_s=60, energy=0.0))
    assert laid.loudness_db == pytest.approx(np.full(18, -10.0))
    assert laid.targets["energy"] == pytest.approx(np.full(18, 0.555 / 3.7700774), abs=1e-6)


def test_given_density_stays_and_loudness_makes_up():
    calm = plan(asking(duration_s=60, tempo=60, density=2.0, energy=0.2))
    lively = plan(asking(duration_s=60, tempo=60, density=2.0, energy=0.4))
    assert calm.targets["density"] == pytest.approx(lively.targets["density"])
    assert (calm.loudness_db < lively.loudness_db).all()
    assert calm.derived >= {"articulation"}
    assert "density" not in calm.derived


# ---------------------------------------------------------------- palette and vocabulary


@pytest.mark.parametrize("name", list(palette.PALETTE))
def test_palette_programs_are_of_their_family(name: str):
    program, family = palette.PALETTE[name]
    assert list(palette.FAMILIES)[palette.FAMILY_OF_PROGRAM[program]] == family


def test_families_of_general_midi():
    """Timpani, orchestra hit, percussive sounds, effects and the drums (128) have none."""
    representatives = palette.FAMILY_OF_PROGRAM[list(palette.FAMILIES.values())]
    assert representatives.tolist() == list(range(len(palette.FAMILIES)))
    without = np.flatnonzero(palette.FAMILY_OF_PROGRAM < 0)
    assert without.tolist() == [47, 55, *range(112, 129)]


def test_the_vocabulary_prints():
    done = subprocess.run(
        [sys.executable, "-m", "sonicrx_ml.prescription"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == vocabulary()
    for word in (*CONTROLS, *palette.PALETTE, *METERS):
        assert word in done.stdout
    assert "40 to 210" in done.stdout


@pytest.mark.parametrize("meter", ["4/4", "3/4", "6/8"])
def test_a_part_of_a_plan_says_the_same_of_its_bars(meter):
    asked = Prescription.from_dict(
        {"duration_s": 61.3, "tempo": [80, 60], "meter": meter, "energy": [0.5, 0.3],
         "breaths_per_min": 6, "instruments": ["piano", "harp"]}
    )  # fmt: skip
    whole = plan(asked)
    assert whole.closes
    for first, stop in ((0, len(whole)), (4, 8), (9, len(whole))):
        part = whole.part(first, stop)
        start = whole.bars.edges[first]
        assert len(part) == stop - first
        assert part.closes == (stop == len(whole))
        np.testing.assert_allclose(part.bars.edges + start, whole.bars.edges[first : stop + 1])
        np.testing.assert_allclose(part.before_s + part.seconds, whole.seconds[first : stop + 1])
        at = np.linspace(0, part.end_quarters, 50)
        heard = part.before_s + part.tempo.seconds(at)
        np.testing.assert_allclose(heard, whole.tempo.seconds(at + start), atol=1e-9)
        for name, values in whole.targets.items():
            np.testing.assert_array_equal(part.targets[name], values[first:stop])
    np.testing.assert_allclose(part.end_quarters + start, whole.end_quarters)
