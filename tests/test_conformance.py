"""The judge: a piece with known attributes passes, and each violation flips its own verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml import emotion
from sonicrx_ml.acoustics import integrated_loudness
from sonicrx_ml.case import _quarters
from sonicrx_ml.conformance import _too_little, deviation, judge
from sonicrx_ml.notes import DRUMS, Meter, Notes, TempoMap, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.tolerances import TOLERANCES
from sonicrx_ml.verdicts import Report, phrase_means

BARS, SECONDS = 16, 64.0
# D G A D; strings hold root and third, the piano walks through the chord in quarters.
STRINGS = ((50, 54), (55, 59), (57, 61), (50, 54))
PIANO = ((66, 69, 74, 69), (67, 71, 74, 71), (69, 73, 76, 73), (66, 69, 74, 69))
REGISTER = float(np.mean([[*s, *p] for s, p in zip(STRINGS, PIANO, strict=True)]))


def prescribe(**controls: Any) -> Prescription:
    return Prescription.from_dict(controls)


ASKED = prescribe(
    duration_s=SECONDS,
    tempo=60,
    key="D",
    mode="major",
    meter="4/4",
    density=1.0,
    polyphony=3,
    register=REGISTER,
    articulation=1.0,
    instruments=["piano", "strings"],
)


def piece() -> Notes:
    """16 bars of 4/4 at 60 BPM in D major, all as `ASKED`, velocity 64."""
    columns = []
    for bar in range(BARS):
        columns += [(4.0 * bar, 4.0, pitch, 48) for pitch in STRINGS[bar % 4]]
        columns += [(4.0 * bar + i, 1.0, pitch, 0) for i, pitch in enumerate(PIANO[bar % 4])]
    onset, duration, pitch, program = (np.array(column) for column in zip(*columns, strict=True))
    velocity = np.full(len(onset), 64)
    tempo = TempoMap(np.zeros(1), np.full(1, 60.0))
    return Notes(onset, duration, pitch, velocity, program, tempo=tempo).sort()


def failed(report: Report) -> set[tuple[str, str]]:
    return {(v.attribute, v.where) for v in report.verdicts if v.verdict == "fail"}


def judged(notes: Notes, prescription: Prescription = ASKED) -> Report:
    return judge(prescription, write_midi(notes))


# ---------------------------------------------------------------- on notes


def test_a_piece_as_asked_passes():
    report = judged(piece())
    assert failed(report) == set()
    assert report.score == 1.0
    assert report.failure is None
    assert set(report.asked) == {
        "duration", "tempo", "key", "mode", "meter", "density", "polyphony", "register",
        "articulation", "instruments",
    }  # fmt: skip


def test_what_is_realised_is_what_was_written():
    report = judged(piece())
    found = {v.attribute: v.realised for v in report.verdicts}
    assert found["duration"] == pytest.approx(64.0)
    assert found["tempo"] == pytest.approx(60.0)
    assert found["density"] == pytest.approx(1.0)
    assert found["polyphony"] == pytest.approx(3.0)
    assert found["register"] == pytest.approx(REGISTER)
    assert found["articulation"] == pytest.approx(1.0)
    assert found["chromaticism"] == pytest.approx(0.0)
    assert found["dynamics"] == pytest.approx(0.0)
    assert found["longest silence"] == pytest.approx(0.0)
    assert found["key and mode"] == "D major"
    assert found["instruments"] == "piano, strings"


def in_quick_bars(notes: Notes) -> Notes:
    """The same sound, written at 63 BPM: 5 % faster beats at the same seconds."""
    tempo = TempoMap(np.zeros(1), np.full(1, 63.0))
    scaled = replace(notes, onset=notes.onset * 1.05, duration=notes.duration * 1.05)
    return replace(scaled, tempo=tempo)


def in_minor(notes: Notes) -> Notes:
    lowered = np.isin(notes.pitch % 12, (6, 11, 1))  # F sharp, B and C sharp
    return replace(notes, pitch=notes.pitch - lowered)


def piano_rows(notes: Notes) -> np.ndarray:
    return notes.program == 0


def in_eighths(notes: Notes) -> Notes:
    """Every piano note is struck twice."""
    piano = piano_rows(notes)
    halved = replace(notes, duration=np.where(piano, 0.5, notes.duration))
    again = np.append(np.arange(len(notes)), np.flatnonzero(piano))
    doubled = halved.select(again)
    late = np.arange(len(doubled)) >= len(notes)
    return replace(doubled, onset=doubled.onset + 0.5 * late)


def in_five_voices(notes: Notes) -> Notes:
    strings = np.flatnonzero(~piano_rows(notes))
    doubled = notes.select(np.append(np.arange(len(notes)), strings))
    upper = 12 * (np.arange(len(doubled)) >= len(notes))
    return replace(doubled, pitch=doubled.pitch + upper)


VIOLATIONS: dict[str, Callable[[Notes], Notes]] = {
    "duration": lambda n: n.select(n.onset < 60.0),
    "tempo": in_quick_bars,
    "key": lambda n: n.transpose(2),
    "mode": in_minor,
    "meter": lambda n: replace(n, meters=(Meter(0.0, 3, 4),)),
    "density": in_eighths,
    "polyphony": in_five_voices,
    "register": lambda n: n.transpose(12),
    "articulation": lambda n: replace(n, duration=np.where(piano_rows(n), 0.4, n.duration)),
    "instruments": lambda n: replace(n, program=np.where(n.program == 48, 52, n.program)),
    "longest silence": lambda n: n.select((n.onset < 20.0) | (n.onset >= 32.0)),
}


@pytest.mark.parametrize("attribute", VIOLATIONS)
def test_each_violation_flips_its_own_verdict(attribute: str):
    report = judged(VIOLATIONS[attribute](piece()))
    assert failed(report) == {(attribute, "notes")}
    is_limit = report.row(attribute).limit
    assert report.score == pytest.approx(1.0 if is_limit else 0.9)


def test_a_last_note_held_too_long_fails_the_duration_only():
    notes = piece()
    held = replace(notes, duration=notes.duration + 1.0 * (notes.release > 63.9))
    assert failed(judged(held)) == {("duration", "notes")}
    assert judged(held).row("duration").error == pytest.approx(1.0)


def test_a_foreign_instrument_beside_the_asked_ones_fails():
    notes = piece()
    one_flute = replace(notes, program=np.where(np.arange(len(notes)) == 0, 73, notes.program))
    row = judged(one_flute).row("instruments")
    assert row.verdict == "fail"
    assert row.realised == "piano, strings, flute"
    assert row.error == pytest.approx(1 - 2 * 2 / 5)  # F1 of {piano, strings} and three


def test_names_of_sounds_beyond_the_palette():
    notes = piece()
    other = replace(notes, program=np.where(notes.program == 48, DRUMS, 115))
    assert judged(other).row("instruments").realised == "woodblock, percussion"


@pytest.mark.parametrize(("loud", "expected"), [(64, "pass"), (127, "fail")])
def test_energy_counts_dynamics(loud: int, expected: str):
    """40 log10(127 / 64) = 11.9 dB, at .0555 arousal a dB over a span of 3.77: .175 too much."""
    level = float(emotion.energy(1.0, 0.0, 1.0, REGISTER))
    asked = prescribe(duration_s=SECONDS, tempo=60, energy=level)
    report = judged(replace(piece(), velocity=np.full(len(piece()), loud)), asked)
    assert report.row("energy").verdict == expected
    assert report.row("energy").error == pytest.approx(0.175 if loud == 127 else 0.0, abs=0.005)


def test_chromaticism_is_held_against_the_asked_key():
    notes = piece()
    asked = prescribe(duration_s=SECONDS, tempo=60, key="D", chromaticism=0.0)
    assert failed(judged(notes, asked)) == set()
    third = piano_rows(notes) & (notes.onset % 4 == 2)  # 1 of the 12 note-quarters of a bar
    sharp = replace(notes, pitch=np.where(third, 63, notes.pitch))  # E flat
    row = judged(sharp, asked).row("chromaticism")
    assert row.verdict == "fail"
    assert row.realised == pytest.approx(1 / 12, abs=1e-3)


def test_chromaticism_without_a_key_is_held_against_the_key_heard():
    asked = prescribe(duration_s=SECONDS, tempo=60, chromaticism=0.0)
    assert judged(piece().transpose(5), asked).row("chromaticism").verdict == "pass"


@pytest.mark.parametrize(
    ("key", "mode", "exact", "relative"),
    [("D", "major", 0, 0), ("B", "minor", 1, 0), ("A", "major", 1, 1), ("D", "minor", 1, 1)],
)
def test_the_relative_key_is_told_apart(key: str, mode: str, exact: int, relative: int):
    asked = prescribe(duration_s=SECONDS, tempo=60, key=key, mode=mode)
    report = judged(piece(), asked)
    assert report.row("key and mode").error == exact
    assert report.row("key or relative").error == relative
    assert report.row("key and mode").verdict == "info"


def test_a_tempo_glide_is_measured_bar_by_bar():
    asked = prescribe(duration_s=60, tempo=[[0, 84], [0.5, 84], [1, 60]])
    bars = plan(asked)
    onset = bars.bars.edges[:-1]
    duration = np.diff(np.append(onset, bars.end_quarters))
    ones = np.full(len(onset), 60)
    notes = Notes(onset, duration, ones, ones, 0 * ones, bars.bars.meters[:1], bars.tempo)
    report = judged(notes, asked)
    assert report.row("tempo").error == pytest.approx(0.0, abs=0.001)
    tempo = next(c for c in report.curves if c.attribute == "tempo")
    assert tempo.realised == pytest.approx(tempo.asked, rel=1e-5)
    assert tempo.rho is not None
    assert tempo.rho > 0.9
    assert report.row("duration").verdict == "pass"


def test_tempo_is_felt_beats_in_compound_meter():
    asked = prescribe(duration_s=32, tempo=60, meter="6/8")
    bars = np.arange(16)
    notes = Notes(
        np.arange(0.0, 48.0, 3.0), np.full(16, 3.0), 60 + 0 * bars, 64 + 0 * bars, 0 * bars,
        (Meter(0.0, 6, 8),), TempoMap(np.zeros(1), np.full(1, 90.0)),
    )  # fmt: skip
    assert failed(judged(notes, asked)) == set()


def test_open_controls_are_reported_but_do_not_count():
    report = judged(piece(), prescribe(duration_s=SECONDS))
    assert report.asked == ("duration",)
    assert report.row("tempo").verdict == "not asked"
    assert report.row("tempo").realised == pytest.approx(60.0)
    assert report.row("density").asked is None


def test_what_energy_derives_is_not_asked():
    report = judged(piece(), prescribe(duration_s=SECONDS, tempo=60, energy=0.5))
    assert report.row("density").verdict == "not asked"
    assert report.row("density").asked is not None
    assert report.row("energy").asked == pytest.approx(0.5)


def test_a_curve_that_most_bars_cannot_tell_fails():
    notes = piece()
    sparse = notes.select((notes.onset < 20.0) | (notes.onset >= 60.0))  # 6 of 16 bars
    row = judged(sparse).row("register")
    assert row.realised == pytest.approx(REGISTER, abs=1.0)
    assert (row.verdict, row.error) == ("fail", None)
    assert judged(sparse).curves[3].realised[8] is None


def test_rank_correlation_follows_direction():
    notes = piece()
    rising = replace(notes, pitch=notes.pitch + (notes.onset // 16).astype(int))
    asked = prescribe(duration_s=SECONDS, tempo=60, register=[60, 66])
    falling = prescribe(duration_s=SECONDS, tempo=60, register=[66, 60])
    up, down = (
        next(c.rho for c in judged(rising, p).curves if c.attribute == "register")
        for p in (asked, falling)
    )
    assert up is not None
    assert up > 0.4
    assert down == pytest.approx(-up)


def swelling(share: float) -> Notes:
    """The piece with dynamics that make `share` of a fall in energy of .3 (.0147 a dB)."""
    notes = in_eighths(piece())
    bar = (notes.onset // 4).astype(int)
    fall = 0.15 - 0.3 * (np.arange(BARS) + 0.5) / BARS
    level = share * fall[bar] / 0.01472
    return replace(notes, velocity=np.rint(64 * 10 ** (level / 40)).astype(int))


LEVEL = float(str(judged(in_eighths(piece())).row("energy").realised))
FALLING = prescribe(duration_s=SECONDS, tempo=60, energy=[LEVEL + 0.15, LEVEL - 0.15])


@pytest.mark.parametrize(
    ("share", "expected"),
    [(1.0, "pass"), (0.6, "pass"), (0.4, "fail"), (0.0, "fail"), (-1.0, "fail")],
)
def test_a_curve_that_is_asked_to_move_must_move(share: float, expected: str):
    """All but the last are within the tolerance: a flat one is off by a quarter of .3."""
    row = judged(swelling(share), FALLING).row("energy")
    assert row.moved == pytest.approx(share, abs=0.03)
    assert row.verdict == expected
    assert row.error is not None
    assert (row.error <= 0.1) == (share >= 0)


def test_a_small_movement_need_not_be_made():
    """.15 from end to end is less than two tolerances of .1."""
    asked = prescribe(duration_s=SECONDS, tempo=60, energy=[LEVEL + 0.075, LEVEL - 0.075])
    row = judged(in_eighths(piece()), asked).row("energy")
    assert (row.verdict, row.moved) == ("pass", None)


def test_movement_of_a_relative_tolerance():
    """Twice 25 % of the mean: from 1.5 to 2.9 voices is a clear move, from 1.9 to 2.5 is none."""
    for ends, clear in (([1.5, 2.9], True), ([1.9, 2.5], False)):
        asked = prescribe(duration_s=SECONDS, tempo=60, polyphony=ends)
        assert (judged(piece(), asked).row("polyphony").moved is not None) == clear


def test_notes_slightly_early_belong_to_the_bar_they_anticipate():
    early = replace(piece(), onset=np.maximum(piece().onset - 1 / 48, 0.0))
    density = next(c for c in judged(early).curves if c.attribute == "density")
    assert density.realised == pytest.approx([1.0] * BARS)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("midi", "reason"),
    [
        (b"", "not a MIDI file"),
        (b"RIFF" + bytes(20), "not a MIDI file"),
        (write_midi(piece())[:-9], "chunk lengths"),
        (write_midi(piece().select(np.zeros(0, int))), "no notes"),
        (write_midi(replace(piece(), program=np.full(len(piece()), DRUMS))), "no pitched notes"),
        (write_midi(replace(piece(), onset=piece().onset + 100.0)), "no pitched notes"),
    ],
)
def test_what_cannot_be_judged_fails_with_a_reason(midi: bytes, reason: str):
    report = judge(ASKED, midi)
    assert reason in str(report.failure)
    assert report.score == 0.0
    assert report.met == ()
    assert set(report.asked) == set(judged(piece()).asked)
    assert Report.from_json(report.to_json()) == report


# ---------------------------------------------------------------- on sound

RATE = 16_000
SHORT = prescribe(duration_s=24, tempo=75)
HEARD = Notes(
    np.arange(30.0), np.full(30, 1.0), np.full(30, 60), np.full(30, 64), np.zeros(30, int),
    tempo=TempoMap(np.zeros(1), np.full(1, 75.0)),
)  # fmt: skip


def beats(bpm: float = 75.0, lufs: float = -23.0, music_s: float = 24.0) -> np.ndarray:
    """(2, n): a decaying tone on every beat, at an integrated loudness."""
    time = np.arange(round(music_s * RATE)) / RATE
    since = time % (60.0 / bpm)
    tone = np.exp(-since / 0.15) * np.sin(2 * np.pi * 500.0 * since)
    stereo = np.stack([tone, tone])
    return stereo * 10 ** ((lufs - integrated_loudness(stereo, RATE)) / 20)


def clicked(samples: np.ndarray) -> np.ndarray:
    louder = samples.copy()
    louder[:, RATE] = 1.0
    return louder


def heard(samples: np.ndarray, prescription: Prescription = SHORT) -> Report:
    return judge(prescription, write_midi(HEARD), (samples.astype(np.float32), RATE))


def test_a_sound_as_asked_passes():
    report = heard(beats())
    assert failed(report) == set()
    assert report.asked == ("duration", "tempo", "loudness")
    assert report.row("loudness", "sound").realised == pytest.approx(-23.0, abs=0.05)
    assert report.row("tempo", "sound").realised == pytest.approx(75.0, rel=0.005)
    (series,) = report.series
    assert np.median(np.array(series.values)) == pytest.approx(-23.0, abs=1.0)


@pytest.mark.parametrize(
    ("attribute", "samples"),
    [
        ("loudness", beats(lufs=-20.0)),
        ("loudness", beats(lufs=-24.5)),
        ("true peak", clicked(beats())),
        ("tempo", beats(bpm=79.0)),
        ("duration", np.pad(beats(), ((0, 0), (0, 5 * RATE)))),
        ("duration", beats(music_s=23.0)),
    ],
)
def test_each_violation_in_sound_flips_its_own_verdict(attribute: str, samples: np.ndarray):
    report = heard(samples)
    assert failed(report) == {(attribute, "sound")}
    assert report.score == pytest.approx(1.0 if attribute == "true peak" else 2 / 3)


@pytest.mark.parametrize("bpm", [55.0, 60.0, 68.8, 69.0, 81.0, 81.3, 94.0, 100.0])
def test_a_sound_in_another_tempo_fails_and_says_which(bpm: float):
    alone = judge(SHORT, None, (beats(bpm=bpm), RATE))
    assert failed(alone) == {("tempo", "sound")}
    assert float(str(alone.row("tempo", "sound").realised)) == pytest.approx(bpm, rel=0.01)
    flag = str(heard(beats(bpm=bpm)).row("tempo", "sound").flag)
    assert "the notes say 75.0 BPM" in flag


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_tempo(seed: int):
    noise = 0.1 * np.random.default_rng(seed).standard_normal((2, 24 * RATE))
    row = judge(SHORT, None, (noise, RATE)).row("tempo", "sound")
    assert (row.verdict, row.realised) == ("fail", None)
    assert row.flag == "not measured: there is nothing to tell it by"


def test_the_last_sound_may_ring_on():
    assert failed(heard(np.pad(beats(), ((0, 0), (0, 3 * RATE))))) == set()


@pytest.mark.parametrize(("level", "expected"), [(0.0, "pass"), (0.02, "fail")])
def test_final_silence_is_heard(level: float, expected: str):
    asked = prescribe(duration_s=34, tempo=75, final_silence_s=10)
    hum = level * np.sin(2 * np.pi * 500 * np.arange(10 * RATE) / RATE)
    report = heard(np.concatenate([beats(), np.stack([hum, hum])], axis=1), asked)
    assert report.row("final silence", "sound").verdict == expected


def test_silence_is_judged_not_refused():
    report = heard(np.zeros((2, 24 * RATE)))
    assert {("loudness", "sound"), ("tempo", "sound")} <= failed(report)
    assert report.row("loudness", "sound").realised is None
    assert "not measured" in str(report.row("loudness", "sound").flag)
    asked = prescribe(duration_s=SHORT.duration_s, key="C", mode="major")
    alone = judge(asked, None, (np.zeros(24 * RATE), RATE))
    assert {("key", "sound"), ("mode", "sound")} <= failed(alone), "silence is in no key"
    assert Report.from_json(report.to_json()) == report


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((2, 100)), "legal is 3.0 s or more"),
        (np.full((2, 24 * RATE), np.nan), "samples hold NaN or infinity"),
        (np.zeros((6, 24 * RATE)), "shape (6, 384000)"),
    ],
)
def test_what_is_no_sound_fails_the_track(samples: np.ndarray, reason: str):
    report = heard(samples)
    assert reason in str(report.failure)
    assert report.score == 0.0


def at_rate(rate: int) -> np.ndarray:
    """(n,): a second's decay of 500 Hz and its octave on every beat of 75 BPM, 12 s."""
    since = np.arange(round(12 * rate)) / rate % 0.8
    tone = np.sin(2 * np.pi * 500.0 * since) + 0.5 * np.sin(2 * np.pi * 1000.0 * since)
    return 0.1 * np.exp(-since / 0.3) * np.minimum(since / 0.02, 1.0) * tone


EDGES = {
    "offset by DC": (at_rate(48_000) + 0.5, 48_000),
    "nothing but DC": (np.full((2, 12 * 48_000), 0.5), 48_000),
    "clipped": (np.clip(30.0 * at_rate(48_000), -1.0, 1.0), 48_000),
    "beyond full scale": (100.0 * at_rate(48_000), 48_000),
    "8 kHz": (at_rate(8_000), 8_000),
    "192 kHz": (at_rate(192_000), 192_000),
}


def everything(samples: np.ndarray, rate: int) -> Report:
    asked = prescribe(duration_s=12, tempo=75, key="B", mode="major", breaths_per_min=12)
    return judge(asked, None, (samples.astype(np.float32), rate), psychoacoustics=True)


@pytest.mark.parametrize("edge", EDGES)
def test_odd_sounds_get_numbers_or_reasons(edge: str):
    report = everything(*EDGES[edge])
    assert report.failure is None
    assert "NaN" not in report.to_json()
    assert "Infinity" not in report.to_json()
    for row in report.verdicts:
        assert row.realised is not None or row.flag, row.attribute
    if edge == "beyond full scale":
        assert report.row("true peak", "sound").verdict == "fail"


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_the_rate_of_a_file_hardly_moves_a_figure(rate: int):
    """What is of the whole spectrum or of an attack of some samples is left to its own tests."""
    here, there = everything(at_rate(48_000), 48_000), everything(at_rate(rate), rate)
    limits = {"loudness": 0.1, "true peak": 0.2, "tempo": 0.3, "startle": 0.5, "N5": 0.3,
              "sharpness": 0.1, "spectral dissonance": 0.02}  # fmt: skip
    for name, within in limits.items():
        found, expected = (report.row(name, "sound").realised for report in (there, here))
        assert found == pytest.approx(expected, abs=within), name


# ---------------------------------------------------------------- the report and its parts


def test_json_round_trip_without_nan():
    report = heard(beats())
    text = report.to_json()
    assert Report.from_json(text) == report
    assert json.loads(text)["score"] == report.score
    older = json.loads(text)
    assert [row.pop("moved") for row in older["verdicts"]] == [v.moved for v in report.verdicts]
    assert all(v.moved is None for v in Report.from_dict(older).verdicts)
    assert "NaN" not in text


def test_an_unknown_row_is_refused_with_the_legal_ones():
    with pytest.raises(ValueError, match=r"no verdict on 'swing' \(notes\); legal are duration"):
        judged(piece()).row("swing")


def test_every_control_that_can_be_heard_has_a_row():
    without = {"goal", "playback_db_spl", "seed"}
    without |= {"breath_depth_db", "inhale_share"}  # in the rows of breaths_per_min
    without |= {"anchor_at"}  # in the row of anchor
    without |= {"max_sharpness_acum"}  # the limit of the row of sharpness
    without |= {"arc_peak"}  # in the row of the arc's peak
    assert {row.control for row in TOLERANCES if row.control} == set(CONTROLS) - without


def test_rows_of_the_table_are_distinct_and_sourced():
    names = [(row.attribute, row.where) for row in TOLERANCES]
    assert len(set(names)) == len(names)
    assert all(row.source for row in TOLERANCES)


def test_phrase_means_by_hand():
    """Two bars before, the bar, one after; fewer at the ends, and bars without a value left out."""
    values = np.array([1.0, 2.0, np.nan, 6.0, 8.0])
    assert phrase_means(values, 4) == pytest.approx([1.5, 1.5, 3.0, 16 / 3, 7.0])
    assert np.isnan(phrase_means(np.full(3, np.nan), 4)).all()


@given(
    st.lists(
        st.tuples(st.floats(0.25, 50.0), st.floats(20.0, 300.0)),
        min_size=1,
        max_size=8,
    ),
    st.floats(0.0, 500.0),
)
def test_seconds_go_back_to_quarters(steps: list[tuple[float, float]], second: float):
    lengths, bpm = (np.array(column) for column in zip(*steps, strict=True))
    tempo = TempoMap(np.concatenate([[0.0], np.cumsum(lengths)[:-1]]), bpm)
    there = _quarters(tempo, np.array([second]))
    assert tempo.seconds(there)[0] == pytest.approx(second, abs=1e-6)


def test_too_few_bars_to_tell_fail_and_say_so():
    notes = piece()
    row = judged(notes.select(notes.onset < 4 * 6)).row("register")
    assert (row.verdict, row.error, row.flag) == ("fail", None, "only 6 of 16 bars tell it")
    assert judged(notes.select(notes.onset < 4 * 8)).row("register").flag is None


@pytest.mark.parametrize(("open_bars", "flag"), [(4, None), (5, "only 3 of 8 bars tell it")])
def test_bars_of_which_nothing_is_asked_tell_nothing(open_bars: int, flag: str | None):
    (row,) = (row for row in TOLERANCES if (row.attribute, row.where) == ("register", "notes"))
    asked = np.where(np.arange(8) < open_bars, np.nan, 60.0)
    assert _too_little(row, asked, np.full(8, 60.0)) == flag


def off_key(asked, *, away=range(0), by=6):
    """`deviation` of a piece in D major of which some bars are moved by semitones."""
    notes = piece()
    moved = np.isin(notes.onset // 4, away)
    notes = replace(notes, pitch=notes.pitch + np.where(moved, by, 0))
    asked = prescribe(duration_s=SECONDS, tempo=60, meter="4/4", **asked)
    return deviation(asked, plan(asked), notes, 0, BARS)


def test_takes_are_off_the_key_by_what_lacks_of_most_of_it():
    """Four of 16 bars may be elsewhere; eight are off, and half as far as all are."""
    asked = {"key": "D", "mode": "major"}
    assert off_key(asked, away=range(12, 16)) == off_key(asked) < 0.1
    half, all_of_it = off_key(asked, away=range(4, 12)), off_key(asked, away=range(16), by=1)
    assert off_key(asked) + 0.2 < half < all_of_it - 0.2


@pytest.mark.parametrize(
    ("right", "wrong"),
    [({"key": "D"}, {"key": "Ab"}), ({"mode": "major"}, {"mode": "minor"}),
     ({"key": "D", "mode": "major"}, {"key": "B", "mode": "minor"})],
)  # fmt: skip
def test_takes_are_off_by_the_tonic_or_the_mode_that_is_asked(right, wrong):
    assert off_key(right) < 0.1
    assert off_key(wrong) > 0.5


def test_a_take_of_drums_alone_has_no_key():
    drums = replace(piece(), program=np.full(len(piece()), DRUMS))
    asked = prescribe(duration_s=SECONDS, tempo=60, key="D", mode="major", meter="4/4")
    assert deviation(asked, plan(asked), drums, 0, BARS) >= 2.0


def test_of_two_takes_with_equal_phrases_the_one_that_follows_each_bar_is_nearer():
    """Two and none and two and none notes a beat are one in the mean, as one in every bar is."""
    beats = np.arange(4.0 * BARS)
    even = columns(beats)
    twice = np.sort(np.r_[beats, beats + 0.5])
    uneven = columns(twice[twice // 4 % 2 == 0])
    asked = prescribe(duration_s=SECONDS, tempo=60, density=1, meter="4/4")
    near = [deviation(asked, plan(asked), notes, 0, BARS) for notes in (even, uneven)]
    assert near[0] < 0.1
    assert near[1] > near[0] + 0.3


def columns(onset: np.ndarray) -> Notes:
    pitch = np.full(len(onset), 60)
    tempo = TempoMap(np.zeros(1), np.full(1, 60.0))
    return Notes(onset, np.full(len(onset), 0.5), pitch, 64 + 0 * pitch, 0 * pitch, tempo=tempo)
