"""The page is whole and asks the network for nothing; picture and table say the verdicts."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from sonicrx_ml import claims, screening
from sonicrx_ml.conformance import judge
from sonicrx_ml.drawing import picture, small_roll, ticks
from sonicrx_ml.fitting import prescribe_for
from sonicrx_ml.listener import Listener
from sonicrx_ml.notes import Notes, TempoMap, write_midi
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.report import WORDING, summary, write_html
from sonicrx_ml.verdicts import Report, Series

VOID = {"meta", "br", "img", "input", "link", "path", "rect", "line"}
SVG = "{http://www.w3.org/2000/svg}"
ASKED = Prescription.from_dict(
    {
        "duration_s": 32,
        "goal": "anxiety",
        "tempo": 60,
        "key": "G",
        "register": [60, 70],
        "instruments": ["harp"],
    }
)
BEATS = np.arange(32)
NOTES = Notes(
    np.arange(32.0), np.full(32, 1.0), 60 + BEATS % 12, 40 + 2 * BEATS, np.where(BEATS % 2, 46, 0),
    tempo=TempoMap(np.zeros(1), np.full(1, 60.0)),
)  # fmt: skip


class Tags(HTMLParser):
    """Fails on tags that are not closed in order; collects what the page shows."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def report() -> Report:
    found = judge(ASKED, write_midi(NOTES))
    loudness = Series("short-term loudness", "LUFS", -23.0, (1.5, 16.0, 30.0), (-24.0, -22.0, None))
    return replace(found, series=(loudness,))


def page(tmp_path: Path, report: Report, notes: Notes | None = NOTES, **options) -> str:
    given = {"audio": b"\x00sound\xff", "mime": "audio/flac", "evidence": "A: one & two"} | options
    write_html(report, ASKED, notes, given["audio"], given["mime"], tmp_path / "r.html",
               evidence=given["evidence"])  # fmt: skip
    return (tmp_path / "r.html").read_text(encoding="utf-8")


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def test_the_page_is_well_formed_and_asks_the_network_for_nothing(tmp_path, report):
    text = page(tmp_path, report)
    assert not re.search(r"(?i)https?:|//[a-z]|@import|url\(", text)
    tags = parsed(text)
    for tag, attributes in tags.seen:
        assert tag not in {"link", "iframe", "object", "embed", "base"}
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    policy = next(a["content"] for t, a in tags.seen if a.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'")


def test_the_sound_is_inside_the_page(tmp_path, report):
    source = next(a["src"] for t, a in parsed(page(tmp_path, report)).seen if t == "audio")
    kind, data = str(source).split(",")
    assert kind == "data:audio/flac;base64"
    assert base64.b64decode(data) == b"\x00sound\xff"


def test_without_a_sound_there_is_no_player_and_no_script(tmp_path, report):
    tags = [tag for tag, _ in parsed(page(tmp_path, report, audio=None)).seen]
    assert "audio" not in tags
    assert "script" not in tags


def test_the_page_says_goal_evidence_score_and_what_it_does_not_claim(tmp_path, report):
    text = page(tmp_path, report)
    assert "goal <b>anxiety</b>" in text
    assert "<b>A: one &amp; two</b>" in text
    assert f"<b>{len(report.met)} of {len(report.asked)}</b>" in text
    assert WORDING in text
    assert "prefers-color-scheme:dark" in text


def test_the_page_of_a_listener_warns_and_says_what_changed(tmp_path, report):
    answers = {name: name == "hyperacusis" for name in screening.items()}
    who = Listener(id="P07", heart_rate=137, dislikes=("harp",), screening=answers)
    plan = prescribe_for(who, "anxiety", 300, override="Dr B: <stays>")
    write_html(report, ASKED, NOTES, None, "", tmp_path / "r.html", listening=plan)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    parsed(text)
    told = text.partition("For listener P07")[2].partition("Asked against")[0]
    for warning in plan.warnings:
        assert f"<li>⚠ {warning}</li>" in told
    assert "Let pass the screen by Dr B: &lt;stays&gt;" in told
    assert "<th scope='row'>tempo</th><td>84 → 60</td><td>100 → 60</td>" in told
    for fact in ("137", "disliked", "hyperacusis"):
        assert fact not in text
    assert claims.forbidden(unescape(told)) == []
    assert "For listener" not in page(tmp_path, report)


def test_every_verdict_has_a_sign_and_a_word(tmp_path, report):
    text = page(tmp_path, report)
    cells = re.findall(r"<td class='verdict [a-z]+'>(.*?)</td>", text)
    assert len(cells) == sum(v.section != "sound" for v in report.verdicts)
    assert {"✓ pass", "✗ fail", "– not asked", "ℹ info"} == set(cells)


def test_the_prescription_is_in_the_page(tmp_path, report):
    found = re.search(r"<pre>(.*?)</pre>", page(tmp_path, report), re.DOTALL)
    assert found is not None
    assert Prescription.from_dict(json.loads(unescape(found[1]))) == ASKED


def test_strings_from_outside_are_escaped(tmp_path, report):
    hostile = "<script>alert('x')</script>"
    text = page(tmp_path, replace(report, failure=hostile), evidence=hostile, mime="a'><script>b")
    assert "<script>alert" not in text
    assert "<script>b" not in text
    parsed(text)


def test_a_failed_track_has_a_page_too(tmp_path):
    failure = judge(ASKED, b"no music")
    text = page(tmp_path, failure, notes=None, audio=None)
    parsed(text)
    assert "Not judged: MIDI: not a MIDI file" in unescape(text)


def test_the_picture_is_svg_with_every_note_and_its_curves(report):
    root = ElementTree.fromstring(picture(NOTES, report))
    assert root.tag == f"{SVG}svg"
    drawn = "".join(
        str(path.get("d"))
        for group in root.iter(f"{SVG}g")
        if group.get("class") == "notes"
        for path in group
    )
    assert drawn.count("M") == len(NOTES)
    titles = {str(text.text) for text in root.iter(f"{SVG}text") if text.get("class") == "title"}
    assert titles == {
        "piano", "harp", "tempo, BPM", "register, MIDI pitch", "short-term loudness, LUFS",
    }  # fmt: skip


def test_notes_stand_at_their_seconds():
    """Of 32 s over 56..984 units, the note at 16 s begins in the middle, at 520."""
    one = NOTES.select(BEATS == 16)
    root = ElementTree.fromstring(picture(replace(one, duration=np.full(1, 16.0))))
    (group,) = [g for g in root.iter(f"{SVG}g") if g.get("class") == "notes"]
    assert str(group[0].get("d")).startswith("M520.0 ")
    assert str(group[0].get("d")).endswith("h463.5")  # 464 less a gap of .5


def test_sections_are_marked_from_their_seconds_on():
    """Of 32 s over 56..984 units, a section at 16 s begins at 520."""
    one = NOTES.select(BEATS == 16)
    one = replace(one, duration=np.full(1, 16.0))
    root = ElementTree.fromstring(picture(one, sections=[("A", 0.0), ("B <2>", 16.0)]))
    marks = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "section"]
    assert [mark.get("x") for mark in marks] == ["56.0", "520.0"]
    assert {"A", "B <2>"} <= {str(text.text) for text in root.iter(f"{SVG}text")}
    alone = ElementTree.fromstring(picture(one, sections=[("A", 0.0)]))
    assert not [r for r in alone.iter(f"{SVG}rect") if r.get("class") == "section"]


def test_a_piano_roll_needs_no_report():
    root = ElementTree.fromstring(picture(NOTES))
    titles = [str(text.text) for text in root.iter(f"{SVG}text") if text.get("class") == "title"]
    assert titles == ["piano", "harp"]


def test_the_roll_for_print_is_low_and_has_every_note():
    drawn = ElementTree.fromstring(small_roll(NOTES))
    heights = [float(str(root.get("viewBox")).split()[3])
               for root in (drawn, ElementTree.fromstring(picture(NOTES)))]  # fmt: skip
    assert heights[0] < 160 < heights[1]
    strokes = [str(p.get("d")) for g in drawn.iter("g") if g.get("class") == "notes" for p in g]
    assert "".join(strokes).count("M") == len(NOTES)


def test_the_summary_lists_what_was_asked_and_the_limits(report):
    lines = summary(report).splitlines()
    rows = {line.split("  ")[0]: line for line in lines[1:-2]}
    assert set(rows) == {
        "duration", "tempo", "key", "register", "instruments", "longest silence (limit)",
    }  # fmt: skip
    assert rows["duration"].endswith("✓ pass")
    assert "32 s" in rows["duration"]
    assert re.search(r"60\.\d → 69\.\d MIDI pitch", rows["register"])
    assert re.search(r", moves \d+%  ± 4, moves ≥ 50%", rows["register"])
    assert "moves" not in rows["tempo"]
    assert "F1 0.67" in rows["instruments"]
    assert rows["instruments"].endswith("✗ fail")
    assert list(rows)[-1] == "longest silence (limit)", "what does not count stands last"
    assert "(limit)" in lines[-2]
    assert lines[-1] == f"{len(report.met)} of 5 asked attributes met ({report.score:.0%})"


def test_the_summary_of_a_failure_says_why():
    text = summary(judge(ASKED, b"no music"))
    assert text.splitlines()[-1].startswith("Not judged: MIDI: not a MIDI file")
    assert "pass" not in text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.5, 1]),
        (58, 86, [60, 70, 80]),
        (-26.2, -21.5, [-26, -24, -22]),
        (-0.1, 0.1, [-0.1, -0.05, 0, 0.05, 0.1]),
    ],
)
def test_ticks_are_round(low, high, expected):
    found = ticks(low, high, 3)
    assert found == pytest.approx(expected)
    assert "-0" not in [f"{value:g}" for value in found]
