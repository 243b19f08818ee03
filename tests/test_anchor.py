"""The anchor: a motif stays itself in every key, mode, meter and octave, and sounds where asked."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from sonicrx_ml import anchor, motifs, rules, sampling
from sonicrx_ml.anchor import BEATS, Motif
from sonicrx_ml.anchoring import CALM, anchored
from sonicrx_ml.canonical import GRID, unsnap
from sonicrx_ml.conformance import judge
from sonicrx_ml.expression import perform
from sonicrx_ml.notes import Meter, Notes, TempoMap, write_midi
from sonicrx_ml.palette import FAMILIES, PALETTE, RANGES
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import METERS, MODES, TONICS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.themes import Melody
from sonicrx_ml.tokens import Vocabulary

VOCABULARY = Vocabulary.build()
COMMON = (Meter(0.0, 4, 4),)
# Beethoven, opus 125, the first phrase of the hymn
JOY = Motif(
    mode="major",
    meter="4/4",
    bars=4,
    degree=(2, 2, 3, 4, 4, 3, 2, 1, 0, 0, 1, 2, 2, 1, 1),
    alter=(0,) * 15,
    onset=(*range(13), 13.5, 14),
    length=(*(1,) * 12, 1.5, 0.5, 2),
)


def melody(motif, tonic=60, mode=None, meter="4/4", at=0.0, program=0):
    onset, length = motif.times(meter)
    pitch = motif.semitones(mode or motif.mode) + tonic
    numerator, denominator = map(int, meter.split("/"))
    return columns(onset + at, length, pitch, program, (Meter(0.0, numerator, denominator),))


def columns(onset, length, pitch, program=0, meters=COMMON):
    full = np.full(len(onset), program)
    return Notes(np.asarray(onset, float), np.asarray(length, float), np.asarray(pitch),
                 np.full(len(onset), 64), full, meters)  # fmt: skip


def both(*parts):
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("onset", "duration", "pitch", "velocity", "program")
    }
    return dataclasses.replace(parts[0], **joined).sort()


# ---------------------------------------------------------------- the motif


def test_semitones_follow_the_degrees_of_the_mode():
    assert JOY.semitones("major")[:8].tolist() == [4, 4, 5, 7, 7, 5, 4, 2]
    assert JOY.semitones("minor")[:8].tolist() == [3, 3, 5, 7, 7, 5, 3, 2]
    # B, G sharp, A, F sharp in A minor: the raised degrees are the plain ones of A major
    raised = dataclasses.replace(
        JOY, mode="minor", bars=2, degree=(1, 6, 7, 5), alter=(0, 1, 0, 1),
        onset=(0, 1, 2, 4), length=(1, 1, 1, 1),
    )  # fmt: skip
    assert raised.semitones("minor").tolist() == [2, 11, 12, 9]
    assert raised.semitones("major").tolist() == [2, 11, 12, 9]


@pytest.mark.parametrize(
    ("meter", "other", "factor", "bars"),
    [
        ("4/4", "4/4", 1, 4),
        ("4/4", "3/4", 1, 6),  # 16 quarters in bars of 3
        ("4/4", "2/4", 1, 8),
        ("4/4", "6/8", 2 / 3, 6),
        ("3/4", "4/4", 1, 3),
        ("3/4", "6/8", 2 / 3, 4),
        ("2/4", "3/4", 1, 3),
        ("6/8", "4/4", 3 / 2, 3),
        ("6/8", "6/8", 1, 4),
    ],
)
def test_a_quarter_stays_a_quarter_in_another_meter(meter, other, factor, bars):
    motif = motifs.composed(1, meter=meter)
    assert float(motif.scale(other)) == pytest.approx(factor)
    assert motif.bars_in(other) == bars
    own = motif.times(meter)
    np.testing.assert_allclose(motif.times(other), own)
    assert (own[0] * 2 % 1 < 1e-3).all()  # on eighths, whatever the meter


def test_json_gives_the_motif_back():
    assert Motif.of(JOY.to_json()) == JOY
    assert Motif.of(json.loads(JOY.to_json())) == JOY


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bars": 9}, r"bars 9; legal is a whole number 2 to 8"),
        ({"bars": 1}, r"bars 1; legal"),
        ({"bars": True}, r"bars True; legal"),
        ({"mode": "dorian"}, r"mode 'dorian'; legal is major, minor"),
        ({"meter": "7/8"}, r"meter '7/8'; legal is 4/4"),
        ({"degree": [2.5] * 15}, r"degree 2.5; legal"),
        ({"alter": [3] * 15}, r"alter 3; legal"),
        ({"onset": [0] * 15}, r"0 to 0 beats between onsets; legal is 1/4 to a bar"),
        ({"length": [2] * 15}, r"one note at a time"),
        ({"length": [float("nan")] * 15}, r"length nan; legal"),
        ({"length": [1] * 14}, r"legal is a list with an entry for each note"),
        ({"degree": [0, 21] * 7 + [0]}, r"range of 36 semitones; legal is up to 24"),
        ({"bars": 3}, r"legal is a first bar and up to 12"),
        ({"name": "Ode"}, r"legal is an object of mode, meter"),
    ],
)
def test_a_motif_that_cannot_be_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        Motif.of({**JOY.to_dict(), **change})


@pytest.mark.parametrize("meter", BEATS)
@pytest.mark.parametrize("mode", MODES)
def test_a_seed_is_a_motif_that_can_be_sung(meter, mode):
    found = [motifs.composed(seed, mode, meter) for seed in range(12)]
    assert len(set(found)) == 12
    assert found[3] == motifs.composed(3, mode, meter)
    steps = np.concatenate([np.abs(np.diff(motif.degree)) for motif in found])
    assert (steps <= 1).mean() > 0.6
    for motif in found:
        assert {motif.degree[0], motif.degree[-1]} <= {0, 2, 4}
        assert 7 <= np.ptp(motif.semitones(mode)) <= 13


# ---------------------------------------------------------------- from MIDI


def test_a_melody_is_read_back_in_any_key(tmp_path):
    for tonic in (60, 67, 75):
        path = tmp_path / f"{tonic}.mid"
        path.write_bytes(write_midi(melody(JOY, tonic)))
        assert motifs.load(path).semitones("major").tolist() == JOY.semitones("major").tolist()
        assert motifs.load(path).onset == JOY.onset
    stored = tmp_path / "joy.json"
    stored.write_text(JOY.to_json())
    assert motifs.load(stored) == JOY


def test_the_top_line_of_a_piece_with_chords_is_its_motif():
    chords = columns([0, 0, 4, 4, 8, 8, 12, 12], [4] * 8, [48, 52, 47, 50] * 2)
    read = motifs.from_notes(both(melody(JOY, 72), chords))
    assert read == motifs.from_notes(melody(JOY, 72))


def test_what_is_no_motif_is_refused_with_the_reason(tmp_path):
    long = columns(np.arange(40.0), np.ones(40), np.full(40, 60))
    with pytest.raises(ValueError, match=r"bars 10; legal is a whole number 2 to 8"):
        motifs.from_notes(long)
    voices = columns(np.arange(8.0), np.ones(8), [72, 48] * 4)
    with pytest.raises(ValueError, match=r"leaps by 24 semitones; legal are up to 12"):
        motifs.from_notes(voices)
    drums = columns(np.arange(8.0), np.ones(8), [36] * 8, 128)
    with pytest.raises(ValueError, match="without pitched notes"):
        motifs.from_notes(drums)
    with pytest.raises(ValueError, match=r"in 5/4; legal is one of 4/4"):
        motifs.from_notes(dataclasses.replace(melody(JOY), meters=(Meter(0.0, 5, 4),)))
    (tmp_path / "no.mid").write_bytes(b"none")
    with pytest.raises(ValueError, match=r"no.mid: not a MIDI file"):
        motifs.load(tmp_path / "no.mid")


# ---------------------------------------------------------------- found again


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("meter", METERS)
def test_it_is_found_in_any_key_mode_meter_tempo_and_under_any_accompaniment(mode, meter):
    played = melody(JOY, 67, mode, meter, at=3.0, program=73)
    bass = columns(np.arange(0.0, 30.0, 0.5), np.full(60, 0.5), np.full(60, 60), 73)
    other = columns(np.arange(0.0, 30.0, 0.25), np.full(120, 0.5), np.full(120, 80))
    assert anchor.find(JOY, both(played, bass, other)).tolist() == [3.0]
    slower = dataclasses.replace(
        played, onset=played.onset * 1.7, tempo=TempoMap(np.zeros(1), np.full(1, 40.0))
    )
    assert anchor.find(JOY, slower).tolist() == pytest.approx([5.1])


@pytest.mark.parametrize("row", [3, 14])
def test_one_wrong_note_or_a_doubled_time_is_not_the_motif(row):
    played = melody(JOY)
    wrong = dataclasses.replace(played, pitch=played.pitch + (np.arange(15) == row))
    late = dataclasses.replace(played, onset=played.onset + 1.0 * (np.arange(15) >= row))
    less = played.select(np.arange(15) != row)
    covered = both(played, columns([2.5], [0.5], [65]))
    for notes in (wrong, late, less, covered):
        assert len(anchor.find(JOY, notes)) == 0


# ---------------------------------------------------------------- asked


def asked(**controls):
    return Prescription.from_dict({"duration_s": 90, "anchor": JOY.to_dict(), **controls})


def test_a_prescription_with_an_anchor_is_json_and_one_without_is_as_before():
    whole = asked(anchor_at=[0.1, 60])
    assert Prescription.from_json(whole.to_json()) == whole
    assert whole.anchor == JOY
    assert "anchor" not in Prescription(duration_s=60).to_dict()
    assert Prescription(duration_s=60, goal="sleep").id == "8964e7f051a1"


@pytest.mark.parametrize(
    ("controls", "said"),
    [
        ({"anchor": "song.mid"}, r"legal is the JSON of a motif"),
        ({"anchor_at": [0.5, 0.2]}, r"anchor_at \[0.5, 0.2\]; legal are 1 to 20 rising times"),
        ({"anchor_at": "middle"}, r"anchor_at 'middle'; legal"),
        ({"duration_s": 12}, r"anchor of 4 bars in 4/4 sounds 0 times in 4 bars of music"),
        ({"duration_s": 30, "anchor_at": [0, 0.3, 0.6]}, r"sounds 2 times in 9 bars"),
        ({"anchor": None, "anchor_at": 0.5}, r"anchor_at without an anchor"),
    ],
)
def test_what_cannot_be_laid_is_refused(controls, said):
    with pytest.raises(ValueError, match=said):
        asked(**controls)


def test_a_time_after_the_music_is_refused():
    with pytest.raises(ValueError, match=r"anchor_at 95 s; legal is up to the music's 90 s"):
        plan(asked(anchor_at=[95]))


def test_places_are_on_bars_apart_and_before_the_last():
    seconds = np.arange(0.0, 42.0, 2.0)  # 20 bars of 2 s
    assert anchor.first_bars((0.0, 0.5, 1.0), seconds, 4).tolist() == [0, 10, 15]
    assert anchor.first_bars((0.0, 17.0, 1.0), seconds, 4).tolist() == [0, 8, 15]
    assert anchor.first_bars((0.0, 0.2, 0.5), seconds, 6).tolist() == [0, 6, 12]
    with pytest.raises(ValueError, match=r"anchor_at 1.5 is 1.5 s, before the anchor at 0 s is"):
        anchor.first_bars((0.0, 1.5), seconds, 6)
    assert anchor.first_bars((0.5, 0.75, 1.0), seconds, 6).tolist() == [1, 7, 13]


def test_it_is_laid_in_the_key_mode_and_near_the_register():
    laid = plan(asked(key="E", mode="minor", register=60))
    pitch = laid.anchors[0].pitch + laid.transposition
    assert (pitch - JOY.semitones("minor") == pitch[0] - 3).all()
    assert (pitch[0] - 3) % 12 == TONICS.index("E")
    assert abs((pitch.min() + pitch.max()) / 2 - 65) <= 6


@pytest.mark.parametrize("name", PALETTE)
def test_it_stays_within_the_range_of_who_leads(name):
    low, high = RANGES[PALETTE[name][1]]
    for register in (40, 84):
        for place in (laid := plan(asked(instruments=[name], register=register, key="B"))).anchors:
            assert low <= place.pitch.min() + laid.transposition
            assert place.pitch.max() + laid.transposition <= high


# ---------------------------------------------------------------- composed

MOTIFS = [JOY, *(motifs.composed(seed, "minor", meter) for seed, meter in enumerate(BEATS))]
CHROMATIC = dataclasses.replace(JOY, alter=(0, 0, 1, 0, 0, 1) + (0,) * 9)
HELD = dataclasses.replace(
    JOY, bars=2, degree=(1, 4, 5, 1), alter=(0, 1, 0, 0), onset=(0, 2, 6, 7), length=(2, 4, 1, 1)
)  # a foreign note, longer than a beat
STRICT = Prescription.from_dict(
    {"duration_s": 36, "tempo": 140, "mode": "major", "chromaticism": 0, "anchor": HELD}
)


@st.composite
def prescriptions(draw):
    families = draw(st.lists(st.sampled_from(list(FAMILIES)), max_size=3, unique=True))
    names = {of: name for name, (_, of) in PALETTE.items()}
    values = {
        "duration_s": draw(st.floats(32, 40)),
        "tempo": draw(st.sampled_from([140, [160, 130], 180])),
        "anchor": draw(st.sampled_from([*MOTIFS, CHROMATIC, HELD])),
        "key": draw(st.none() | st.sampled_from(TONICS)),
        "mode": draw(st.none() | st.sampled_from(MODES)),
        "meter": draw(st.sampled_from(METERS)),
        "instruments": [names[family] for family in families] or None,
        "register": draw(st.none() | st.sampled_from([40, 84, [40, 84]])),
        "density": draw(st.none() | st.floats(0.2, 8)),
        "polyphony": draw(st.none() | st.floats(1, 8)),
        "chromaticism": draw(st.sampled_from([None, 0, 0.3])),
        "anchor_at": draw(st.sampled_from([None, 0.1, [0.1, 1.0]])),
    }
    return Prescription.from_dict({k: v for k, v in values.items() if v is not None})


@settings(max_examples=5, phases=[Phase.explicit, Phase.generate])
@given(prescriptions(), st.integers(0, 1000))
@example(STRICT, 0)
def test_whatever_is_drawn_the_motif_sounds_at_every_place(drawn_at_random, asked, seed):
    laid = plan(asked)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rules, "TOKENS_PER_BAR", 54)  # full bars are where rules meet
        grid = drawn_at_random(laid, np.random.default_rng(seed))
    assert len(grid.meters) == len(laid)
    notes = perform(unsnap(grid), laid)
    row = judge(asked, write_midi(notes)).row("anchor")
    assert (row.asked, row.realised, row.verdict) == (len(laid.anchors), len(laid.anchors), "pass")
    leads = grid.family == list(FAMILIES).index(laid.families[0])
    size, unit = laid.bars.meters[0].numerator * GRID, 4 / laid.bars.meters[0].denominator / GRID
    for place in laid.anchors:
        steps = np.rint(place.onset / unit).astype(int)
        bars = (grid.bar >= steps[0] // size) & (grid.bar <= steps[-1] // size) & leads
        tune = bars & (grid.pitch >= place.pitch.min())
        assert (grid.bar * size + grid.position)[tune].tolist() == steps.tolist()
        assert grid.pitch[tune].tolist() == place.pitch.tolist()
        np.testing.assert_allclose(grid.length[tune], place.length / unit, atol=0.51, rtol=0.1)
        alone = laid.playing[grid.bar[bars & ~tune]].sum(axis=1) == 1
        assert alone.all(), "the leading instrument plays more than the motif beside others"


def test_the_composer_is_calm_around_a_motif_and_nowhere_else(bundle):
    """Bars of the motif, not those of a melody that returns; a track without one beside it."""
    motif = asked(duration_s=60, tempo=120, anchor_at=[0.5], meter="4/4")
    laid = [plan(motif), plan(Prescription(duration_s=60))]
    takes = sampling._Takes(bundle, laid, [1, 2], SamplingConfig())
    first, *_, last = laid[0].anchors[0].onset.astype(int) // 4
    for bar in range(len(laid[0])):
        takes.state.bar[:] = bar
        calm = first <= bar <= last
        assert takes.temperature().ravel() == pytest.approx([CALM if calm else 1.0, 1.0])
    assert takes.anchor is not None
    takes.anchor.take_up([0], 0, Melody(np.array([0]), np.array([60]), np.array([4])))
    takes.state.bar[:] = 0
    assert takes.temperature().ravel() == pytest.approx([1.0, 1.0])
    raw = sampling._Takes(bundle, laid, [1, 2], SamplingConfig(masked=False, temperature=0.9))
    raw.state.bar[:] = first
    assert np.unique(raw.temperature()) == pytest.approx([0.9])


def test_a_motif_is_told_from_others_by_its_id():
    assert re.fullmatch("[0-9a-f]{8}", JOY.id)
    assert Motif.of(JOY.to_json()).id == JOY.id
    assert len({motif.id for motif in (*MOTIFS, CHROMATIC, HELD)}) == len(MOTIFS) + 2
    assert JOY.id in str(JOY)


def test_without_an_anchor_the_rules_are_those_of_before():
    laid = [plan(Prescription(duration_s=20))]
    held = rules.rules_for(laid, VOCABULARY)
    assert anchored(held, [], laid) == (held, [])


def test_a_track_without_its_motif_fails_and_one_not_asked_is_not_judged():
    other = motifs.composed(5)
    plain = Prescription.from_dict({"duration_s": 40, "tempo": 100})
    midi = write_midi(melody(other))
    assert judge(plain, midi).row("anchor").verdict == "not asked"
    wanted = dataclasses.replace(plain, anchor=JOY, anchor_at=(0.0,))
    row = judge(wanted, midi).row("anchor")
    assert (row.asked, row.realised, row.verdict) == (1, 0, "fail")
    assert judge(dataclasses.replace(wanted, anchor=other), midi).row("anchor").verdict == "pass"
