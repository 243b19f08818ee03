"""A course made: whole after a stop, its calendar true, of the listener the pseudonym only."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from sonicrx_ml import course, course_folder, course_page, variety
from sonicrx_ml.claims import forbidden
from sonicrx_ml.compose import compose
from sonicrx_ml.course import Course
from sonicrx_ml.listener import Listener
from sonicrx_ml.motifs import composed
from sonicrx_ml.notes import Meter, Notes, read_midi
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.plan import plan
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.screening import items

WHO = Listener(id="P07", screening=dict.fromkeys(items(), False), heart_rate=91, likes=("cello",))
PLAIN = SamplingConfig(guidance=1.0)


@pytest.fixture(scope="module")
def short() -> Course:
    """The first two days of a week, each of 24 s."""
    whole = course.plan("one_week", "grief", 24, listener=WHO)
    return replace(whole, days=whole.days[:2])


@pytest.fixture(scope="module")
def made(short, bundle, tmp_path_factory):
    """Stopped after the first day, and gone on with."""
    out = tmp_path_factory.mktemp("courses")
    first = course_folder.make(short, bundle, out, PLAIN, batch=2)
    begun = next(first)
    first.close()
    written = (begun.folder / "track.flac").stat().st_mtime_ns
    days = list(course_folder.make(short, bundle, out, PLAIN, batch=2, starts=date(2026, 12, 1)))
    return out / short.label, begun, written, days


def test_a_stopped_course_goes_on_where_it_was(short, made):
    folder, begun, written, days = made
    assert begun.fresh
    assert [(day.day.number, day.fresh) for day in days] == [(1, False), (2, True)]
    assert (begun.folder / "track.flac").stat().st_mtime_ns == written
    assert sorted(path.name for path in folder.iterdir()) == [
        "anchor.motif.json", "calendar.html", "course.json", "day-01", "day-02",
    ]  # fmt: skip
    told = json.loads((folder / "course.json").read_text())
    assert [day["prescription"] for day in told["days"]] == [
        json.loads((folder / day["folder"] / "prescription.json").read_text())
        for day in told["days"]
    ]


def test_it_ends_as_one_that_was_not_stopped(short, bundle, made):
    folder, whole = made[0], compose([day.prescription for day in short.days], bundle, PLAIN)
    there = [(folder / day.name / "track.mid").read_bytes() for day in short.days]
    assert [found.midi for found in whole] == there


def test_a_day_by_other_weights_is_made_again(short, bundle, made):
    folder, *_ = made
    day = short.days[0]
    found = course_folder._found(folder / day.name, day, bundle, PLAIN)
    assert found is not None
    assert not found.fresh
    other = replace(bundle, sha256="1" * 64)
    assert course_folder._found(folder / day.name, day, other, PLAIN) is None
    guided = SamplingConfig(guidance=2.0)
    assert course_folder._found(folder / day.name, day, bundle, guided) is None
    assert course_folder._found(folder / "day-09", day, bundle, PLAIN) is None


def test_the_calendar_tells_days_links_and_figures(short, made):
    folder, _, _, days = made
    page = (folder / "calendar.html").read_text()
    for part in ("listener P07", "Tue 01 Dec", "Wed 02 Dec", "day-02/label.html", "cello, C",
                 "h of listening at 65 dB SPL", "no direct trial",
                 "are the most alike"):  # fmt: skip
        assert part in page
    rows = [day.report.row("anchor") for day in days]
    assert all(row.verdict == "pass" for row in rows)
    asked = sum(float(row.asked) for row in rows)
    assert f"found again in {asked:g} of {asked:g} asked places" in page
    assert forbidden(page) == []
    assert all((folder / day.day.name / "label.html").is_file() for day in days)
    assert "day 2 of 2; 0:24 a session" in (folder / "day-02" / "label.html").read_text()


def test_the_calendar_of_nothing_made_yet(short):
    page = course_page.page(short, {}, None)
    assert page.count("not made yet") == 2
    assert "weekly limit" in page
    assert "[X: expert opinion] (goal grief)" in page
    assert "<b>not measured yet</b>" in page


def test_manifests_and_names_have_the_pseudonym_only(made):
    folder = made[0]
    for path in [folder, *folder.rglob("*")]:
        assert "cello" not in path.name
        assert "91" not in path.name.replace(folder.name, "")
    for path in folder.glob("*/manifest.json"):
        manifest = json.loads(path.read_text())
        assert manifest.pop("listener") == {"id": "P07", "override": False}
        assert manifest.pop("course")["name"] == "one_week"
        assert not {"heart_rate", "likes", "screening", "anchor"} & set(manifest)


def test_a_batch_below_one_is_refused(short, bundle, tmp_path):
    with pytest.raises(ValueError, match="batch 0; legal are 1 and more"):
        next(course_folder.make(short, bundle, tmp_path, batch=0))


@pytest.mark.parametrize(("together_s", "expected"), [(20.0, 1), (47.0, 1), (48.0, 2), (1800.0, 2)])
def test_long_tracks_are_composed_in_small_batches(
    short, bundle, tmp_path, monkeypatch, together_s, expected
):
    """So that a stop costs half an hour of music at most."""
    monkeypatch.setattr(course_folder, "TOGETHER_S", together_s)

    def refuse(batch, *_):
        raise ValueError(f"{len(batch)} side by side")

    monkeypatch.setattr(course_folder, "compose", refuse)
    with pytest.raises(ValueError, match=f"{expected} side by side"):
        next(course_folder.make(short, bundle, tmp_path, PLAIN))


# ---------------------------------------------------------------- variety


def test_tracks_are_compared_without_their_anchor(made, short):
    folder = made[0]
    day = short.days[0]
    notes = read_midi(folder / day.name / "track.mid")
    rest = variety.without_anchor(day.prescription, notes)
    places = plan(day.prescription).anchors
    cello = PALETTE["cello"][0]
    for place in places:
        inside = (rest.onset >= place.onset[0]) & (rest.onset <= place.onset[-1])
        assert not (rest.program[inside] == cello).any()
    assert 0 < len(rest) < len(notes)


def test_a_track_is_wholly_alike_itself_and_a_motif_in_any_key():
    asked = course.plan("one_week", "grief", 40, anchor=None).prescriptions[0]
    one = melody(composed(3), 60)
    found = variety.most_alike({4: (asked, one), 9: (asked, melody(composed(3), 65))})
    assert found is not None
    assert (found.first, found.second, found.share) == (4, 9, 1.0)
    assert found.longest == len(one)
    other = variety.most_alike({4: (asked, one), 9: (asked, melody(composed(8), 60))})
    assert other is not None
    assert other.share < 0.5
    assert variety.most_alike({4: (asked, one)}) is None


def melody(motif, tonic):
    onset, length = motif.times("4/4")
    full = np.zeros(len(onset), dtype=int)
    pitch = motif.semitones("major") + tonic
    return Notes(onset, length, pitch, full + 64, full, (Meter(0.0, 4, 4),))
