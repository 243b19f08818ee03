"""Figures of tracks whose conformance is known, resuming, and the suite itself."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]
from hydra import compose, initialize_config_dir

from sonicrx_ml import evaluation, goals, suite
from sonicrx_ml.config import EvaluateConfig, plain, register
from sonicrx_ml.conformance import judge
from sonicrx_ml.evaluation import effects, figures
from sonicrx_ml.notes import Notes, read_midi, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import TONICS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.suite import Column, run

CONFIGS = Path(__file__).parents[1] / "configs"
SUITES = {
    name: yaml.safe_load((CONFIGS / f"suite/{name}.yaml").read_text())["prescriptions"]
    for name in ("core", "full")
}
DESIGN, FULL = SUITES["core"][:72], SUITES["full"][:216]

# ---------------------------------------------------------------- conformance figures

TOLD = {"key": "C", "mode": "major", "instruments": ["piano"]}
PLAIN = [
    Prescription.from_dict({"duration_s": 20, "tempo": tempo, **TOLD})
    for tempo in (60, [60, 100], 84, 120)
]


def obedient(prescription: Prescription) -> bytes:
    """C major chords on every quarter, at exactly the asked tempo, meter and length."""
    planned = plan(prescription)
    onset = np.arange(0.0, planned.end_quarters)
    release = np.minimum(onset + 1.0, planned.end_quarters)
    chords = np.array([[60, 64, 67], [65, 69, 72], [67, 71, 74], [60, 64, 72]])
    pitch = chords[np.arange(len(onset)) // 4 % 4]
    columns = np.full(pitch.size, 64), np.zeros(pitch.size, np.int64)
    notes = Notes(np.repeat(onset, 3), np.repeat(release - onset, 3), pitch.ravel(), *columns,
                  planned.bars.meters[:1], planned.tempo)  # fmt: skip
    return write_midi(notes)


def column(make, name="column", identity="1"):
    return Column(name, identity, lambda many: [(m := make(p), judge(p, m)) for p in many])


def test_an_obedient_composer_meets_everything(tmp_path):
    found = figures(run(PLAIN, column(obedient), tmp_path))
    for name in ("attributes met (ASA)", "tempo bin (TB)", "key and mode (CK)", "instrument F1",
                 "key or relative (CKD)", "tempo passes", "duration passes"):  # fmt: skip
        assert (found[name].value, found[name].low, found[name].n) == (1.0, 1.0, 4), name
    assert found["failed"].value == 0
    assert found["tempo error, BPM"].value < 0.2
    assert found["duration error, s"].value < 0.05
    assert found["tempo over bars (rho)"].value > 0.95
    assert found["tempo within a moving track (rho)"].n == 1
    assert np.isnan(found["density NRMSE"].value), "no density was asked"


def test_failures_score_zero_and_are_not_dropped(tmp_path):
    judged = run(
        PLAIN, column(lambda p: obedient(p) if p.tempo.points[0][1] > 60 else b""), tmp_path
    )
    found = figures(judged)
    for name in ("attributes met (ASA)", "tempo bin (TB)", "tempo bin or neighbour (TBT)",
                 "key and mode (CK)", "instrument F1", "key passes", "failed"):  # fmt: skip
        assert (found[name].value, found[name].n) == (0.5, 4), name
    assert found["tempo error, BPM"].n == 2
    assert found["tempo within a moving track (rho)"].value == 0.0
    assert found["tempo over bars (rho)"].n == 4
    assert len(evaluation.failures(judged)) == 2


def test_tempo_bins(tmp_path):
    published = [40, 60, 70, 90, 110, 140, 160, 210]  # Text2midi
    assert list(evaluation.TEMPO_EDGES) == published
    # 84 BPM is in the bin 70 to 90; 60 and 120 are played as 84: next bin but one, next but one
    # 70 to 90 | 90 to 110 | 110 to 140; 60 is in 60 to 70, the neighbour
    asked = [PLAIN[0], PLAIN[2], PLAIN[3]]
    found = figures(run(asked, column(lambda p: obedient(PLAIN[2])), tmp_path))
    assert found["tempo bin (TB)"].value == pytest.approx(1 / 3)
    assert found["tempo bin or neighbour (TBT)"].value == pytest.approx(2 / 3)
    assert found["tempo error, BPM"].value == pytest.approx((24 + 0 + 36) / 3, abs=0.1)


def test_density_error_by_hand(tmp_path):
    # one onset a second where two are asked: ((1 - 2) / 2)^2 in every bar; nothing at all: 1
    asked = [Prescription.from_dict({"duration_s": 20, "tempo": 60, "density": 2})]
    assert figures(run(asked, column(obedient), tmp_path))["density NRMSE"].value == pytest.approx(
        0.5
    )
    failed = figures(run(asked, column(lambda p: b"", "silent"), tmp_path))
    assert failed["density NRMSE"].value == 1.0


def test_effects_show_which_knob_moves_what(tmp_path):
    suite = [
        Prescription.from_dict({"duration_s": 20, "tempo": t, "mode": mode, **{"key": "C"}})
        for t in (50, 80, 110, 140)
        for mode in ("major", "minor")
    ]
    table = effects(run(suite, column(obedient), tmp_path))
    assert table["tempo"]["tempo"].value > 0.95
    assert table["tempo"]["density"].value > 0.95, "a chord a beat: faster is denser"
    assert np.isnan(table["mode"]["mode"].value), "always major: nothing to correlate"
    assert table["mode"]["tempo"].value == pytest.approx(0, abs=0.1)
    assert table["energy"]["energy"].n == 0, "no energy was asked"


def test_spill_is_how_much_one_knob_moves_the_others():
    """By hand: of two knobs asked independently, one moves both or only itself."""
    first, second = np.array([0.0, 0, 1, 1] * 3), np.array([0.0, 1, 0, 1] * 3)
    both = np.ones((1, 12))
    faithful = np.column_stack([first, second, first, second])
    assert evaluation._mean_spill(both, faithful)[0] == pytest.approx(0.0)
    spilling = np.column_stack([first, second, first, first])  # |rho| of (1, 2') is 1, (2, 1') 0
    assert evaluation._mean_spill(both, spilling)[0] == pytest.approx(0.5)
    untold = np.column_stack([first, np.full(12, np.nan), first, 1 - first])
    assert evaluation._mean_spill(both, untold)[0] == pytest.approx(1.0)
    assert np.isnan(evaluation._mean_spill(both, np.zeros((12, 4)))[0])


def test_energy_as_composed_leaves_out_what_is_written(tmp_path):
    suite = [
        Prescription.from_dict({"duration_s": 20, "key": key, "mode": "major", "tempo": tempo,
                                "energy": energy})
        for key, tempo, energy in [("C", 60, 0.2), ("F", 84, 0.4), ("A", 100, 0.6), ("B", 120, 0.8)]
    ]  # fmt: skip

    def performed(prescription):
        """The same chords per beat, moved to the key, louder where more energy is asked."""
        notes = read_midi(obedient(prescription)).transpose(plan(prescription).transposition)
        loudness = np.full(len(notes), int(127 * prescription.energy.points[0][1]))
        return write_midi(replace(notes, velocity=loudness))

    table = effects(run(suite, column(performed), tmp_path))
    assert table["energy"]["energy"].value == 1.0
    judged = run(suite, column(performed), tmp_path)
    composed = [evaluation._composed_energy(j) for j in judged]
    assert composed == pytest.approx([composed[0]] * 4, abs=0.01)


def test_a_font_that_is_none_is_refused_before_anything_is_composed(bundle, monkeypatch):
    monkeypatch.setenv("SONICRX_SOUNDFONT", "absent.sf2")
    suite.composer_column("quiet", bundle, SamplingConfig())
    with pytest.raises(ValueError, match=r"font 'absent\.sf2' is not a file"):
        suite.composer_column("heard", bundle, SamplingConfig(), sound=True)


# ---------------------------------------------------------------- running


def test_tracks_are_made_and_judged_again_by_other_code(tmp_path, monkeypatch):
    run(PLAIN[:1], column(obedient), tmp_path)
    monkeypatch.setattr(suite, "code_sha256", lambda: "other")
    made: list[Prescription] = []

    def watched(prescription: Prescription) -> bytes:
        made.append(prescription)
        return obedient(prescription)

    run(PLAIN[:1], column(watched), tmp_path)
    assert len(made) == 1


def test_what_only_shows_is_no_reason_to_make_tracks_again():
    code = suite.code_of(suite.MAKERS)
    assert {"baselines", "conformance", "keys", "notes", "pacing", "sampling", "temperley"} <= code
    assert code.isdisjoint({"evaluation", "evaluation_page", "label", "plots", "report", "tables"})


def test_a_second_run_makes_only_what_is_missing(tmp_path):
    made = []

    def make(prescription):
        made.append(prescription)
        return obedient(prescription)

    first = run(PLAIN[:3], column(make), tmp_path, seeds=[1, 2], batch_size=2)
    assert len(made) == 6
    lines = tmp_path / "column.jsonl"
    lines.write_text(lines.read_text()[:-200])  # killed while it wrote the sixth
    again = run(PLAIN, column(make), tmp_path, seeds=[1, 2])
    assert len(made) == 6 + 1 + 2
    assert again[:3] == first[:3]
    assert figures(run(PLAIN, column(make), tmp_path, seeds=[1, 2])) == figures(again)
    assert len(made) == 9
    run(PLAIN[:1], column(make, identity="another checkpoint"), tmp_path)
    assert len(made) == 10
    assert len(list((tmp_path / "column").glob("*.mid"))) == 8


def test_every_track_has_its_own_seed_and_seeds_share_an_entry(tmp_path):
    judged = run(PLAIN, column(obedient), tmp_path, seeds=[1, 2])
    assert len({j.prescription.seed for j in judged}) == 8
    assert Counter(j.entry for j in judged) == dict.fromkeys(range(4), 2)
    assert figures(judged)["attributes met (ASA)"].n == 4


def test_spread_keeps_first_and_last():
    assert suite.spread("abcdefghi", 3) == ["a", "e", "i"]
    assert suite.spread("abc", 0) == suite.spread("abc", 7) == ["a", "b", "c"]


def test_a_folder_holds_the_tracks_of_one_state(tmp_path):
    """A, then B, then A again: the MIDI files are B's, so A's are made again."""
    made = []

    def make(prescription):
        made.append(prescription)
        return obedient(prescription)

    for identity, count in (("A", 2), ("B", 4), ("A", 6), ("A", 6)):
        run(PLAIN[:2], column(make, identity=identity), tmp_path)
        assert len(made) == count


# ---------------------------------------------------------------- the suites


@pytest.mark.parametrize(("name", "count"), [("core", 81), ("full", 225)])
def test_every_entry_is_a_legal_prescription(name, count):
    prescriptions = [Prescription.from_dict(entry) for entry in SUITES[name]]
    assert len({p.id for p in prescriptions}) == len(prescriptions) == count


def composed(*overrides):
    register("evaluate", EvaluateConfig)
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return plain(compose("evaluate", list(overrides)), EvaluateConfig)


def test_the_config_holds_the_suite_and_the_columns():
    cfg = composed("seeds=[1,2]")
    assert cfg.suite.prescriptions == SUITES["core"]
    assert {name: (s.masked, s.best_of) for name, s in cfg.columns.items()} == {
        "raw": (False, 1),
        "masked": (True, 1),
        "best_of_4": (True, 4),
    }
    assert cfg.baselines == ["free", "etudes", "retrieved"]
    for wrong, message in (
        ("what=[nuts]", r"what=\['nuts'\]; legal are nats, suite, likeness"),
        ("what=[likeness]", "legal are nats, suite, and likeness with suite"),
        ("baselines=[all]", r"baselines=\['all'\]; legal are free, etudes, retrieved"),
    ):
        with pytest.raises(ValueError, match=message):
            composed(wrong)


def test_the_design_is_balanced():
    moves: Counter[tuple[str, str, int]] = Counter()
    for entry in DESIGN:
        curves = [
            (name, int(np.sign(entry[name][1] - entry[name][0])))
            for name in ("energy", "density", "register", "polyphony")
            if isinstance(entry.get(name), list)
        ]
        assert len(curves) == 1
        moves[entry["goal"], *curves[0]] += 1
    assert len(moves) == 72
    assert Counter((e["key"], e["mode"]) for e in DESIGN) == {
        (key, mode): 3 for key in TONICS for mode in ("major", "minor")
    }
    assert Counter(e["duration_s"] for e in DESIGN) == dict.fromkeys((30, 45, 60, 90, 120, 180), 12)
    assert Counter(e["meter"] for e in DESIGN) == {"4/4": 30, "3/4": 18, "6/8": 12, "2/4": 12}
    assert set(Counter(tuple(e["instruments"]) for e in DESIGN).values()) == {6}
    tempi = np.array([np.ravel(e["tempo"])[[0, -1]] for e in DESIGN])
    assert (tempi.min(), tempi.max()) == (40, 150)
    assert Counter(np.sign(np.diff(tempi)[:, 0])) == {0: 24, 1: 24, -1: 24}


MOTIONS = ("held", "rising", "falling", "arched")
MOVED = ("energy", "density", "register", "polyphony", "articulation", "chromaticism")


def motion(value):
    """How a curve moves: held, rising, falling or arched."""
    if not isinstance(value, list):
        return "held"
    if isinstance(value[0], list):
        (_, start), (_, top), (_, end) = value
        assert start == end < top
        return "arched"
    return "rising" if value[1] > value[0] else "falling"


def moved(entry):
    found = [(name, motion(entry[name])) for name in MOVED if isinstance(entry.get(name), list)]
    assert len(found) == 1, "one attribute moves"
    return found


def level(value):
    """Middle of a curve's range; an arch is given as [fraction, value] points."""
    if isinstance(value, list) and isinstance(value[0], list):
        value = [point[1] for point in value[:2]]
    return np.mean(value)


def slope(value):
    return {"rising": 1.0, "falling": -1.0}.get(motion(value), 0.0)


def test_the_full_design_is_balanced():
    moves: Counter[tuple[str, str]] = Counter()
    for goal in goals.goal_names():
        dealt = [e for e in FULL if e["goal"] == goal]
        assert Counter((e["key"], e["mode"]) for e in dealt) == {
            (key, mode): 1 for key in TONICS for mode in ("major", "minor")
        }
        assert Counter(e["duration_s"] for e in dealt) == dict.fromkeys(
            (30, 45, 60, 90, 120, 180), 4
        )
        assert Counter(e["meter"] for e in dealt) == {"4/4": 9, "3/4": 6, "6/8": 5, "2/4": 4}
        assert set(Counter(tuple(e["instruments"]) for e in dealt).values()) == {1}
        assert Counter(len(e["instruments"]) for e in dealt) == {1: 6, 2: 6, 3: 6, 4: 6}
        assert Counter(motion(e["tempo"]) for e in dealt) == dict.fromkeys(MOTIONS, 6)
        found = {move for e in dealt for move in moved(e)}
        assert len(found) == 18, "every attribute moves every way"
        assert sum("final_silence_s" in e for e in dealt) == 4
        moves += Counter(move for e in dealt for move in moved(e))
    assert moves == {(name, how): 12 for name in MOVED for how in MOTIONS[1:]}
    for name in MOVED:
        held = Counter(e[name] for e in FULL if motion(e.get(name)) == "held" and name in e)
        assert len(held) >= 3, name
        assert len(set(held.values())) == 1, name
    tempi = np.concatenate([np.ravel(e["tempo"]) for e in FULL])
    assert (tempi[tempi > 1].min(), tempi.max()) == (40, 150)  # up to 1: fractions of arches
    presets = {tuple(e["instruments"]) for e in SUITES["full"][216:]}
    assert presets <= {tuple(e["instruments"]) for e in FULL}


@pytest.mark.parametrize(("design", "bound"), [(DESIGN, 0.22), (FULL, 0.11)], ids=["core", "full"])
def test_no_control_of_a_design_gives_another_away(design, bound):
    names = ["tempo", "energy", "register", "polyphony", "duration_s"]
    if design is FULL:
        names += ["density", "articulation", "chromaticism"]
    levels = {
        name: np.array([level(e[name]) if name in e else np.nan for e in design]) for name in names
    }
    levels["mode"] = np.array([float(e["mode"] == "major") for e in design])
    if design is FULL:
        levels["parts"] = np.array([len(e["instruments"]) for e in design], dtype=float)
        levels["beats"] = np.array([{"4/4": 4, "3/4": 3}.get(e["meter"], 2) for e in design], float)
        levels["slope"] = np.array([slope(e["tempo"]) for e in design])
        levels["tonic"] = np.array([float(TONICS.index(e["key"])) for e in design])
    for a, b in itertools.combinations(levels, 2):
        known = np.isfinite(levels[a] + levels[b])
        if known.sum() >= 10:
            assert abs(np.corrcoef(levels[a][known], levels[b][known])[0, 1]) < bound, (a, b)


@pytest.mark.parametrize("name", ["core", "full"])
def test_the_last_entries_are_the_presets(name):
    presets = [goals.prescribe(goal, 90) for goal in goals.goal_names()]
    rounded = [replace(p, final_silence_s=round(p.final_silence_s, 6)) for p in presets]
    assert [Prescription.from_dict(entry) for entry in SUITES[name][-9:]] == rounded
