"""Prescription to track: the same bytes again, a whole folder or none, and the facts beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from sonicrx_ml import audio, compose, goals, rules
from sonicrx_ml.conformance import judge
from sonicrx_ml.fitting import prescribe_for
from sonicrx_ml.goals import prescribe
from sonicrx_ml.listener import Listener
from sonicrx_ml.notes import read_midi
from sonicrx_ml.prescription import Prescription, vocabulary
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.screening import items
from sonicrx_ml.verdicts import Report

FILES = {
    "track.mid", "track.flac", "prescription.json", "report.json", "report.html", "label.html",
    "manifest.json",
}  # fmt: skip
ASKED = {"duration_s": 12, "goal": "anxiety", "instruments": ["piano", "flute"], "seed": 3}


@pytest.fixture(scope="module", autouse=True)
def short_bars():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules, "TOKENS_PER_BAR", 20)
        yield


@pytest.fixture(scope="module")
def track(bundle):
    (composition,) = compose.compose([Prescription.from_dict(ASKED)], bundle)
    return compose.produce(composition, bundle, engine="tinysoundfont", font=audio.PACKAGED_FONT)


@pytest.fixture(scope="module")
def saved(track, tmp_path_factory):
    return track.save(tmp_path_factory.mktemp("tracks") / "one")


def test_a_folder_that_cannot_be_written_is_refused_before_composing(tmp_path):
    compose.check(tmp_path / "new" / "tracks", font=audio.PACKAGED_FONT)
    assert list((tmp_path / "new" / "tracks").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="File exists"):
        compose.check(tmp_path / "file", font=audio.PACKAGED_FONT)


def test_the_same_seed_gives_the_same_midi_bytes(bundle, track):
    asked = Prescription.from_dict(ASKED)
    (again,) = compose.compose([asked], bundle)
    assert again.midi == track.composition.midi
    (other,) = compose.compose([Prescription.from_dict(ASKED | {"seed": 4})], bundle)
    assert other.midi != again.midi


@pytest.mark.parametrize("takes", [1, 2])
def test_composed_phrase_by_phrase_it_is_the_same_bytes(bundle, takes):
    asked = Prescription.from_dict(ASKED | {"duration_s": 40})
    sampling = SamplingConfig(best_of=takes)
    drafts = list(compose.composing(asked, bundle, sampling))
    (whole,) = compose.compose([asked], bundle, sampling)
    assert drafts[-1].composition().midi == whole.midi
    assert drafts[-1].seconds == asked.music_s
    lengths = [draft.seconds for draft in drafts]
    assert lengths == sorted(set(lengths))
    assert len(lengths) > 2
    early = drafts[0].composition()
    assert len(early.notes) < len(whole.notes)
    assert early.notes.end_seconds <= drafts[0].seconds + 1e-6
    assert early.notes.end_seconds > 0.8 * drafts[0].seconds


def test_a_draft_that_nobody_waits_for_is_not_composed_on(bundle):
    drafts = compose.composing(Prescription.from_dict(ASKED | {"duration_s": 40}), bundle)
    next(drafts)
    drafts.close()
    with pytest.raises(StopIteration):
        next(drafts)


def test_a_preview_stays_where_it_is_asked_for(track, tmp_path):
    folder = track.save(tmp_path / "one", preview=True)
    assert {path.name for path in folder.iterdir()} == FILES | {compose.PREVIEW}
    assert audio.load(folder / compose.PREVIEW)[0].shape[0] == 2


def test_the_midi_is_what_was_composed(track):
    composition = track.composition
    heard = read_midi(composition.midi)
    assert len(heard) == len(composition.notes)
    np.testing.assert_array_equal(heard.pitch, composition.notes.pitch)
    np.testing.assert_array_equal(heard.velocity, composition.notes.velocity)
    np.testing.assert_allclose(heard.onset, composition.notes.onset, atol=1 / 480)
    assert heard.end_seconds == pytest.approx(12, abs=0.05)


def test_a_track_is_one_whole_folder(track, saved):
    folder = saved
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    assert (folder / "track.mid").read_bytes() == track.composition.midi
    asked = Prescription.from_json((folder / "prescription.json").read_text())
    assert asked == track.composition.prescription
    assert Report.from_json((folder / "report.json").read_text()) == track.report
    samples, rate = audio.load(folder / "track.flac")
    assert rate == 48_000
    assert samples.shape[0] == 2
    assert 12 <= samples.shape[1] / rate <= 12 + compose.TAIL_S
    assert audio.read_tags(folder / "track.flac")["prescription_id"] == asked.id


def test_saving_again_replaces_all_of_it(track, saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "one")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "stale").touch()
    track.save(folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_save_that_fails_leaves_the_older_track(track, saved, tmp_path, monkeypatch):
    folder = shutil.copytree(saved, tmp_path / "one")
    monkeypatch.setattr(audio, "save", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        track.save(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_the_manifest_says_how_to_make_it_again(bundle, track):
    found = json.loads(json.dumps(track.manifest))
    composition = track.composition
    assert found["prescription_id"] == composition.prescription.id
    assert Prescription.from_dict(found["prescription"]) == composition.prescription
    assert found["seed"] == 3
    assert found["checkpoint_sha256"] == bundle.sha256
    assert found["midi_sha256"] == hashlib.sha256(composition.midi).hexdigest()
    assert found["sampling"] == {
        "temperature": 1.0, "top_p": 0.93, "guidance": 1.0, "masked": True, "paced": True,
        "best_of": 1, "memory": 512,
    }  # fmt: skip
    assert found["engine"].startswith("tinysoundfont")
    assert found["font"] == audio.PACKAGED_FONT.name
    assert len(found["font_sha256"]) == 64
    assert found["playback_db_spl"] == 65
    assert {"sonicrx_ml", "python", "onnxruntime", "numpy", "pretty_midi"} <= found[
        "versions"
    ].keys()


def test_the_sound_is_mastered_to_the_prescription(track):
    assert np.abs(track.sound.samples).max() <= 10 ** (-1 / 20) + 1e-3
    assert track.sound.seconds == pytest.approx(12 + compose.TAIL_S, abs=0.01)
    assert np.abs(track.sound.samples[:, -10:]).max() < 1e-3


def test_the_report_carries_the_goal_s_evidence(track, saved):
    mark = goals.evidence_note(track.composition.prescription)
    assert mark is not None
    strength = mark.partition(":")[0]
    assert strength in (saved / "report.html").read_text()
    assert goals.evidence_note(Prescription(duration_s=20)) is None


def test_a_track_of_a_listener_says_so_on_its_pages(track, tmp_path):
    who = Listener(id="P07", screening=dict.fromkeys(items(), False))
    plan = prescribe_for(who, "anxiety", 12)
    folder = track.made_for(plan).save(tmp_path / "mine")
    assert json.loads((folder / "manifest.json").read_text())["listener"] == plan.record()
    for name in ("label.html", "report.html"):
        assert "listener P07" in (folder / name).read_text()
    anybody = track.save(tmp_path / "anybody")
    assert "listener" not in json.loads((anybody / "manifest.json").read_text())


def test_a_goal_of_one_s_own_is_kept_and_claims_nothing():
    own = Prescription.from_dict({"duration_s": 20, "goal": "ward_seven"})
    assert own.label.startswith("ward_seven-")
    assert goals.evidence_note(own) is None
    assert "or a name of your own" in vocabulary()


def test_a_batch_gives_every_prescription_its_own(bundle):
    asked = [prescribe("sleep", 14, seed=1), Prescription(duration_s=16, seed=2)]
    config = SamplingConfig(guidance=1.0)
    found = compose.compose(asked, bundle, config)
    assert [c.prescription for c in found] == asked
    ends = [read_midi(c.midi).end_seconds for c in found]
    assert ends == pytest.approx([p.music_s for p in asked], abs=0.05)


# ---------------------------------------------------------------- the best of several takes


def test_more_takes_come_nearer(bundle):
    """The judge chooses phrase by phrase, so a whole track may be the worse; most are not."""
    steps = np.linspace(1, 1.8, 6)
    asked = [
        Prescription.from_dict(
            {"duration_s": 20, "density": s, "polyphony": (1 + s) / 2, "seed": i}
        )
        for i, s in enumerate(steps)
    ]
    off = {}
    for takes in (1, 6):
        composed = compose.compose(asked, bundle, SamplingConfig(best_of=takes))
        off[takes] = [-judge(c.prescription, c.midi).merit[1] for c in composed]
    assert np.mean(off[6]) < 0.9 * np.mean(off[1])


def test_a_track_needs_no_tables_plots_or_tokenizer():
    """What takes seconds to import and serves other scripts stays away from `sample.py`."""
    wanted = "import sys, sonicrx_ml.compose, sonicrx_ml.report; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", wanted], capture_output=True, text=True, check=True)
    unwanted = {"datasets", "pandas", "pyarrow", "miditok", "matplotlib", "librosa", "lightning"}
    assert not unwanted & set(ran.stdout.split())
