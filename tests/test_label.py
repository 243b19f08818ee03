"""The label has every field, claims nothing, says no more of a listener, and stays one page."""

from __future__ import annotations

import functools
import re
import shlex
from dataclasses import replace
from html import unescape

import numpy as np
import pytest

from sonicrx_ml import claims, course, label, personal, screening
from sonicrx_ml.conformance import judge
from sonicrx_ml.curve import Curve
from sonicrx_ml.fitting import ListeningPlan, prescribe_for
from sonicrx_ml.goals import evidence, goal_names, library, prescribe
from sonicrx_ml.hearing import weekly_hours
from sonicrx_ml.listener import Listener
from sonicrx_ml.notes import Notes, TempoMap, write_midi
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.report import WORDING
from sonicrx_ml.verdicts import Report, Verdict

FIELDS = [
    "Name", "Theory", "Who selected the music", "Structure", "For the listener", "Delivery",
    "Materials", "Strategy", "Sessions", "Interventionist", "Fidelity", "Setting", "Outcomes",
    "Reproduce",
]  # fmt: skip
ASKED = prescribe("anxiety", 60, instruments=["harp"], tempo=60, seed=7)
BEATS = np.arange(60)
NOTES = Notes(
    BEATS.astype(float), np.full(60, 1.0), 60 + BEATS % 12, 40 + BEATS, np.full(60, 46),
    tempo=TempoMap(np.zeros(1), np.full(1, 60.0)),
)  # fmt: skip
MANIFEST = {
    "checkpoint": "small", "checkpoint_sha256": "c0ffee" * 10 + "beef",
    "midi_sha256": "0123456789abcdef" * 4,
    "sampling": {
        "temperature": 1.0, "top_p": 0.93, "guidance": 1.0, "masked": True, "paced": True,
        "best_of": 4,
    },
    "engine": "FluidSynth 2.3.1",
    "font": "musescore-general-soundfont-small.sf3",
    "versions": {
        "sonicrx_ml": "0.1.0", "python": "3.11.7", "onnxruntime": "1.23.0", "numpy": "2.4.6",
        "miditok": "3.1.0", "pretty_midi": "0.2.11.post0", "symusic": "0.5.9",
    },
    "machine": "x86_64",
}  # fmt: skip


def heard(attribute: str, value: float, *, limit: bool = False) -> Verdict:
    """A row about the sound, at 65 dB SPL."""
    return Verdict(
        attribute, "sound", "", None, value, None, "at least", 0.0 if limit else None,
        "pass" if limit else "info", limit, "", section="safety", playback_db_spl=65.0,
    )  # fmt: skip


def judged(prescription: Prescription) -> Report:
    found = judge(prescription, write_midi(NOTES))
    more = (
        heard("level at the ear", 86.0),
        heard("hearing dose", weekly_hours(86.0), limit=True),
        heard("hearing dose, children", weekly_hours(86.0, 75.0)),
    )
    return replace(found, verdicts=(*found.verdicts, *more))


@pytest.fixture(scope="module")
def report() -> Report:
    return judged(ASKED)


def person(goal: str, **known) -> ListeningPlan:
    answers = {name: name != "driving_or_machines" for name in screening.items()}
    who = Listener(**{"id": "P07", "screening": answers} | known)
    return prescribe_for(who, goal, 600, override="Dr B: <stays>")


def rows(page: str) -> dict[str, str]:
    """The cells of the fields, as HTML."""
    return dict(re.findall(r"<tr><th scope='row'>(.*?)</th><td>(.*?)</td></tr>", page))


def text(html: str) -> str:
    """What is to be read, without style and drawing."""
    bare = re.sub(r"<style>.*?</style>|<svg.*?</svg>|<head>.*?</head>", "", html, flags=re.DOTALL)
    return unescape(re.sub(r"<[^>]*>", " ", bare))


# ---------------------------------------------------------------- what it says


def test_it_has_the_fields_of_the_guideline(report):
    without = label.page(ASKED, report, NOTES, MANIFEST)
    assert list(rows(without)) == [name for name in FIELDS if name != "For the listener"]
    plan = person("anxiety")
    personal_page = label.page(plan.prescription, report, NOTES, MANIFEST, plan)
    assert list(rows(personal_page)) == FIELDS
    assert "RG-MBI 2025, which supersedes Robb 2011" in text(without)
    assert WORDING in text(without)


def test_what_only_a_clinician_knows_is_a_ruled_line(report):
    found = rows(label.page(ASKED, report, NOTES, MANIFEST))
    ruled = {name for name, cell in found.items() if "class='rule'" in cell}
    assert ruled == {
        "Who selected the music", "Delivery", "Sessions", "Interventionist", "Setting", "Outcomes",
    }  # fmt: skip
    scales = {"SUDS 0-10": 2, "VAS": 2, "STAI-6": 2, "RMSSD, ms": 2, "PHQ-9": 1, "GAD-7": 1,
              "PSQI": 1}  # fmt: skip
    for scale, times in scales.items():
        assert text(found["Outcomes"]).count(scale) == times
    assert found["Setting"].count("class='box'") == 2


@pytest.mark.parametrize("goal", goal_names())
def test_every_goal_has_its_theory_mark_sources_and_caution(goal, report):
    page = text(label.page(prescribe(goal, 300), report, None, MANIFEST))
    known = evidence(goal)
    for said in (known.title, known.theory, known.claim, known.caution, *known.citations):
        assert said in page
    assert f"[{known.strength}: " in page
    for mark, meaning in library().strengths.items():
        assert re.search(rf"\b{mark}\s+{re.escape(meaning)}", page)
    assert claims.forbidden(page) == []


def test_values_carry_their_marks(report):
    asked = prescribe("anxiety", 600, key="D", tempo=[90, 60])
    found = text(rows(label.page(asked, report, None, MANIFEST))["Structure"])
    assert "tempo 90 → 60 BPM [own]" in found
    assert "key D [own]" in found
    assert "density 2 → 1.2 onsets/s [C]" in found
    assert "left open" not in found


def test_a_goal_of_one_s_own_claims_nothing(report):
    own = Prescription.from_dict({"duration_s": 60, "goal": "ward_seven"})
    page = label.page(own, report, None, MANIFEST)
    assert "ward_seven" in rows(page)["Name"]
    assert label.NO_CAUTION in text(page)
    assert "class='rule'" in rows(page)["Theory"]
    assert rows(page)["Structure"] == "left open: tempo, key, mode, meter, instruments"


def test_fidelity_is_the_conformance(report):
    found = text(rows(label.page(ASKED, report, NOTES, MANIFEST))["Fidelity"])
    assert f"{len(report.met)} of {len(report.asked)} asked attributes met" in found
    missed = [v.attribute for v in report.verdicts if v.verdict == "fail"]
    assert missed
    for name in missed:
        assert name in found.partition("✗")[2]
    for name in report.met:
        assert name in found.partition("✓")[2].partition("✗")[0]
    loud = replace(heard("startle", 9.0, limit=True), verdict="fail")
    startled = replace(report, verdicts=(*report.verdicts, loud))
    cell = text(rows(label.page(ASKED, startled, NOTES, MANIFEST))["Fidelity"])
    assert cell.partition("✗")[2].startswith(" startle (limit), sound: ")
    failed = judge(ASKED, b"no music")
    assert "Not judged: MIDI" in label.page(ASKED, failed, None, MANIFEST)


def test_level_and_weekly_limit_are_those_of_h_870(report):
    """86 dBA is 6 dB over 80: 40 h / 4; for children 11 dB over 75: 40 h / 2^(11/3) = 3.15 h."""
    found = text(rows(label.page(ASKED, report, NOTES, MANIFEST))["Delivery"])
    assert "Playback level 65 dB SPL; 86 dBA at the ear" in found
    assert re.search(r"weekly limit\s+10 h\s*, children 3.15 h", found)
    unheard = judge(ASKED, write_midi(NOTES))
    assert "weekly limit not measured" in label.page(ASKED, unheard, NOTES, MANIFEST)


def test_it_says_how_to_make_the_track_again(report):
    found = text(rows(label.page(ASKED, report, NOTES, MANIFEST))["Reproduce"])
    assert "sampling.guidance=1.0 sampling.masked=True" in found
    for said in (ASKED.id, "seed 7", "c0ffeec0ffeec0ff…", "0123456789abcdef…", "checkpoint small",
                 "sonicrx_ml 0.1.0"):  # fmt: skip
        assert said in found


def test_the_roll_has_every_note(report):
    page = label.page(ASKED, report, NOTES, MANIFEST)
    groups = re.findall(r"<g class='notes'.*?</g>", page)
    assert "".join(groups).count("M") == len(NOTES)
    assert "<svg" not in label.page(ASKED, report, None, MANIFEST)


def test_it_asks_the_network_for_nothing_and_runs_nothing(report):
    page = label.page(ASKED, report, NOTES, MANIFEST)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\(|<script|<link|<img", page)
    assert "content=\"default-src 'none'; style-src 'unsafe-inline'; media-src" in page


# ---------------------------------------------------------------- of a listener


def test_warnings_changes_and_override_of_a_listener(report):
    plan = person("motor", cadence=101, likes=("cello",))
    page = label.page(plan.prescription, report, NOTES, MANIFEST, plan)
    for warning in plan.warnings:
        assert warning in text(page)
    assert label.NOT_SCREENED not in text(page)
    changed = text(rows(page)["For the listener"])
    assert "tempo: 100 became 101 BPM; from the listener's own pace [A; Ghai 2018" in changed
    assert "playback level: 65 became 50 dB SPL; no louder than is safe [E]" in changed
    assert "tempo 101 BPM [A]" in text(rows(page)["Structure"])
    assert "Dr B: &lt;stays&gt;" in page
    assert "listener P07" in page
    assert claims.forbidden(text(page)) == []


def test_several_changes_of_a_control_are_told_as_one():
    plan = person("anxiety", heart_rate=130, dislikes=("harp",), trigger_sounds=("pad",))
    found = {change.control: change for change in personal.changes(plan)}
    assert len(found) == len(personal.changes(plan)) < len(plan.changes)
    assert found["instruments"].before == ("piano", "strings", "harp", "warm_pad")
    assert found["instruments"].after == ("piano", "strings")


def test_a_page_quotes_no_fact_of_the_person(report):
    """The plan's own reasons do: the terminal of whoever has the profile shows them."""
    who = {"heart_rate": 137.0, "dislikes": ("harp",), "trigger_sounds": ("pad",)}
    plan = person("anxiety", **who, safe_level_db_spl=45.0)
    assert "137" in plan.summary()
    page = text(label.page(plan.prescription, report, NOTES, MANIFEST, plan))
    for fact in ("137", "disliked", "is a trigger sound", "hyperacusis", "mania", "own safe level"):
        assert fact not in page


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "open"),
        (65.0, "65"),
        (("warm_pad", "harp"), "warm pad, harp"),
        (Curve.of([84, 60]), "84 → 60"),
        (Curve(((0.0, 80.0), (0.5, 60.0), (1.0, 76.0))), "80 → 60 → 76"),
        (Curve(((0.0, 84.0), (0.2, 84.0), (1.0, 84.0))), "84"),
        (Curve.of([[0, 1], [0.2, 3], [0.4, 2], [0.6, 5], [1, 4]]), "1 to 5"),
    ],
)
def test_values_are_told_in_words(value, said):
    assert personal.told(value) == said


# ---------------------------------------------------------------- one page

# Of Liberation Sans at 8.4 pt, measured in print with Chromium; a little too large, not too small.
LETTER_MM, LINE_MM, RULED_MM, PADDING_MM = 1.44, 3.72, 4.9, 1.5
HEAD_MM, ROLL_MM, LEGEND_MM = 12.0, 26.0, 8.0
MARGINS_MM = (24.0, 18.0)  # both sides together: width, height
NAMES_MM = 27.0  # column of the fields' names
PAPERS_MM = {"A4": (210.0, 297.0), "Letter": (215.9, 279.4)}


def lines(html: str, width: float) -> list[float]:
    """Heights of the lines that a text takes."""
    heights: list[float] = []
    for part in html.split("<br>"):
        rules = sum(map(float, re.findall(r"width:(\d+)mm", part)))
        count = np.ceil((len(" ".join(text(part).split())) * LETTER_MM + rules) / width)
        heights += [RULED_MM if "'rule'" in part else LINE_MM] * int(count)
    return heights


def height(page: str, sheet: float) -> float:
    """About how many millimetres of paper the page takes, on a sheet so wide within its margins."""
    width = sheet - NAMES_MM
    fields = sum(sum(lines(cell, width)) + PADDING_MM for cell in rows(page).values())
    warned = [sum(lines(item, sheet / 2 - 10)) for item in re.findall("<li>(.*?)</li>", page)]
    box = LINE_MM + PADDING_MM + (sum(warned) + max(warned)) / 2
    return HEAD_MM + box + fields + ROLL_MM + LEGEND_MM


LONGEST = tuple(
    max((name for name, (_, of) in PALETTE.items() if of == family), key=len) for family in FAMILIES
)


@functools.cache
def fullest(goal: str) -> str:
    """Everything asked and missed, every warning, the longest texts from outside."""
    answers = {name: name != "driving_or_machines" for name in screening.items()}
    who = Listener(
        id="P07" + "x" * 29, heart_rate=95, cadence=101.5, spontaneous_tempo=91.5,
        likes=("cello", "flute", "oboe"), dislikes=("harp",), screening=answers,
        safe_level_db_spl=45,
    )  # fmt: skip
    allowed = "Dr B: " + "stays with them, " * 60
    day = course.plan("four_weeks", goal, 3000, listener=who, override=allowed).days[-1]
    assert day.listening is not None
    plan = day.listening
    turns = [[0, 1.25], [0.3, 2.25], [0.6, 1.75], [1, 2.75]]
    everything = {
        "key": "F#", "meter": "6/8", "strategy": "iso", "instruments": LONGEST,
        "polyphony": turns, "density": turns, "register": [60.5, 66.5],
        "articulation": [0.85, 0.65], "chromaticism": [0.05, 0.15],
        "energy": [[0, 0.25], [0.3, 0.35], [0.6, 0.15], [1, 0.45]], "final_silence_s": 101.5,
        "breaths_per_min": [12.5, 6.5], "inhale_share": 0.45, "breath_depth_db": 4.5,
    }  # fmt: skip
    full = Prescription.from_dict(plan.prescription.to_dict() | everything)
    report = judged(full)
    missed = tuple(
        replace(v, verdict="fail") if v.verdict == "pass" and not v.limit else v
        for v in report.verdicts
    )
    place = {"course": {"name": "four_weeks", "day": day.number, "of": day.number}}
    return label.page(full, replace(report, verdicts=missed), NOTES, MANIFEST | place, plan)


@pytest.mark.parametrize("paper", PAPERS_MM)
@pytest.mark.parametrize("goal", ["anxiety", "mood_lift", "motor"])
def test_the_fullest_label_fits_on_one_page(goal, paper):
    width, tall = np.subtract(PAPERS_MM[paper], MARGINS_MM)
    page = fullest(goal)
    assert "stays with them, stays" in page
    assert 200 < height(page, width) <= tall


def test_the_command_for_a_listener_passes_the_screen_again():
    """Quoted as a shell and Hydra read it; without an anchor the track is not given one."""
    plan = person("anxiety")
    found = label.command(plan.prescription, MANIFEST, plan)
    words = shlex.split(found)
    assert words[:3] == ["python", "scripts/sample.py", "prescription=prescription.json"]
    assert words[-3:] == ["listener=P07.json", "anchor=none", 'override="…"']
    assert "listener=" not in label.command(plan.prescription, MANIFEST)
