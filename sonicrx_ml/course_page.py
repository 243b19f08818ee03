"""The calendar of a course, to print: what is on which day, with room for how it went.

A week is a row of seven days. Each day with a track has its pace, key, leading instrument and
length, how far the track is what was asked, links to its folder, and lines for the ratings. Under
the weeks stand the hours of listening against the weekly limit, and what was measured over all
tracks: the anchor found again, and how much the two most alike tracks share.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from html import escape
from typing import TYPE_CHECKING

from sonicrx_ml import personal
from sonicrx_ml.course import DAYS_PER_WEEK, Course, Day
from sonicrx_ml.drawing import clock
from sonicrx_ml.goals import evidence, goal_names, library
from sonicrx_ml.hearing import WEEKLY_HOURS
from sonicrx_ml.page import frame, shown
from sonicrx_ml.report import WORDING
from sonicrx_ml.verdicts import Report

if TYPE_CHECKING:
    from sonicrx_ml.variety import Alike

ALIKE = 0.2  # share in common from which two days are told to be alike [E]

STYLE = """
@page{size:landscape;margin:9mm}
:root{color-scheme:only light}
*{box-sizing:border-box}
body{margin:0 auto;padding:8mm;max-width:280mm;color:#000;background:#fff;
font:8.4pt/1.3 "Liberation Sans",Arial,Helvetica,sans-serif}
header{display:flex;justify-content:space-between;align-items:baseline;gap:6mm}
h1{font-size:15pt;line-height:1.15;margin:0}p,ul{margin:0}ul{padding-left:4mm}
.id{font-weight:700}.wording{margin:.6mm 0 1.6mm}
.warnings{border:1.2pt solid #000;padding:1mm 2mm;margin-bottom:2mm}
.warnings ul{columns:2;column-gap:6mm}.warnings li{break-inside:avoid}
table{border-collapse:collapse;width:100%;table-layout:fixed}
td{border:.5pt solid #777;padding:1mm 1.4mm;vertical-align:top;height:26mm}
td.off{background:#f2f2f2;color:#555}tr{break-inside:avoid}
td b{font-size:9.5pt}a{color:#000}
.rule{display:inline-block;border-bottom:.6pt solid #000;width:7mm;height:3.6mm}
.box{display:inline-block;border:.6pt solid #000;width:2.7mm;height:2.7mm;vertical-align:-.3mm}
.fine{font-size:7.4pt;margin-top:1.4mm}
@media print{body{padding:0;max-width:none}.links{display:none}}
"""


def page(
    course: Course,
    reports: Mapping[int, Report],
    alike: Alike | None,
    starts: date | None = None,
) -> str:
    """The calendar as HTML.

    reports : by day, of the tracks that are there.
    alike : the two tracks most alike, by their days; None where there are not two.
    starts : date of the first day; without one, days are counted.
    """
    body = [
        _heading(course),
        f"<div class='warnings'><b>Before listening</b><ul>"
        f"{''.join(f'<li>{escape(w)}</li>' for w in course.warnings)}</ul></div>",
        f"<table><tbody>{''.join(_weeks(course, reports, starts))}</tbody></table>",
        *(f"<p class='fine'>{line}</p>" for line in _notes(course, reports, alike)),
    ]
    return frame(f"Calendar {course.label}", "\n".join(body), STYLE)


def _heading(course: Course) -> str:
    known = evidence(course.goal) if course.goal in goal_names() else None
    title = known.title if known else course.goal
    mark = f" [{known.strength}: {library().strengths[known.strength]}]" if known else ""
    whom = f"listener {escape(course.listener)}" if course.listener else ""
    return (
        f"<header><h1>Calendar of listening</h1><p class='id'>{whom}</p></header>"
        f"<p><b>{escape(title)}</b>{escape(mark)} (goal {escape(course.goal)}); "
        f"{escape(course.shape.title)}.</p>"
        f"<p class='wording'>{escape(WORDING)}</p>"
    )


def _weeks(course: Course, reports: Mapping[int, Report], starts: date | None) -> Iterator[str]:
    of_day = {day.number: day for day in course.days}
    for week in range(course.shape.weeks):
        numbers = range(DAYS_PER_WEEK * week + 1, DAYS_PER_WEEK * (week + 1) + 1)
        cells = (_cell(number, of_day.get(number), reports, starts) for number in numbers)
        yield f"<tr>{''.join(cells)}</tr>"


def _cell(number: int, day: Day | None, reports: Mapping[int, Report], starts: date | None) -> str:
    when = f" {starts + timedelta(days=number - 1):%a %d %b}" if starts else ""
    head = f"<b>{number}</b>{when}"
    if day is None:
        return f"<td class='off'>{head}</td>"
    asked, lines = day.prescription, [f"{head} <span class='box'></span>"]
    lead = asked.instruments[0].replace("_", " ") if asked.instruments else "piano"
    key = " ".join(filter(None, (asked.key, asked.mode)))
    lines.append(f"{escape(lead)}{', ' if key else ''}{escape(key)}, {clock(asked.duration_s)}")
    lines.append(f"{personal.told(asked.tempo_curve)} BPM")
    report = reports.get(number)
    if report is None:
        lines.append("not made yet")
    else:
        links = ", ".join(
            f"<a href='{day.name}/{name}'>{word}</a>"
            for word, name in (("sound", "track.flac"), ("label", "label.html"),
                               ("report", "report.html"))
        )  # fmt: skip
        lines.append(f"{len(report.met)} of {len(report.asked)} met")
        lines.append(f"<span class='links'>{links}</span>")
    lines.append("SUDS <span class='rule'></span> → <span class='rule'></span>")
    return f"<td>{'<br>'.join(lines)}</td>"


def _notes(course: Course, reports: Mapping[int, Report], alike: Alike | None) -> Iterator[str]:
    yield _listening(course, reports)
    moving = ", ".join(course.moves)
    shape = course.shape
    yield escape(
        f"From day to day: {course.reason}"
        f"{f' ({moving})' if moving else ''} [E]; {shape.reason} [{shape.strength}]. "
        f"E: {library().strengths['E']}."
    )
    if course.anchor:
        yield _anchor(course, reports)
    if alike:
        said = "are alike" if alike.share >= ALIKE else "are the most alike"
        yield (
            f"Days {alike.first} and {alike.second} {said}: {alike.share:.0%} of their runs of "
            f"eight notes are in common, the anchor left out; the longest run that any two days "
            f"share has {alike.longest} notes."
        )
    yield "SUDS: distress from 0 to 10, before and after. Stop at any time."


def _listening(course: Course, reports: Mapping[int, Report]) -> str:
    """Hours of the fullest week against the weekly limit at the level that is asked."""
    seconds = [day.prescription.duration_s for day in course.days[: len(course.shape.days)]]
    level = max(asked.playback_db_spl for asked in course.prescriptions)
    doses = [r.find("hearing dose", "sound") for r in reports.values()]
    hours = [v.realised for v in doses if v and isinstance(v.realised, float)]
    limit = f"{shown(min(hours))} h" if hours else "not measured yet"
    return (
        f"A week of it is {shown(sum(seconds) / 3600)} h of listening at {level:g} dB SPL; weekly "
        f"limit at this level (ITU-T H.870, {WEEKLY_HOURS:g} h at 80 dBA, other listening "
        f"included): <b>{limit}</b>."
    )


def _anchor(course: Course, reports: Mapping[int, Report]) -> str:
    rows = [row for report in reports.values() if (row := report.find("anchor"))]
    asked, found = (
        sum(float(value) for row in rows if isinstance(value := getattr(row, name), float | int))
        for name in ("asked", "realised")
    )
    return escape(
        f"Anchor, the same in every track: {course.anchor}; found again in {found:g} of {asked:g} "
        f"asked places. Experimental: there is no direct trial."
    )
