"""A report to read: a page, and a table for the terminal.

`write_html` makes one file that asks the network for nothing: style and script are inline, figures
are inline SVG, the sound is a data URI. Every verdict has a sign and a word.
"""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path

import numpy as np

from sonicrx_ml import page, personal
from sonicrx_ml.drawing import FIGURE_STYLE, LEFT, RIGHT, WIDTH, Form, clock, figures, qualities
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.notes import Notes
from sonicrx_ml.page import shown
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.tolerances import LEAST_MOVED
from sonicrx_ml.verdicts import RING_S, BarCurve, Report, Section, Verdict, phrase_means

SIGNS = {"pass": "✓", "fail": "✗", "not asked": "–", "info": "ℹ"}
WORDING = (
    "Wellness use; not a medical device; adjunct to care. "
    "Conformance says that the track is what was asked for, not that it works."
)

# The line that moves with the sound, and a click in a figure that seeks.
SCRIPT = """
const sound=document.querySelector('audio'),figures=document.querySelectorAll('svg[data-seconds]');
function show(){for(const f of figures){const h=f.querySelector('.head');
h.setAttribute('transform',`translate(${LEFT+sound.currentTime/f.dataset.seconds*(RIGHT-LEFT)})`);
h.style.visibility=sound.currentTime>0?'visible':'hidden'}
if(!sound.paused)requestAnimationFrame(show)}
sound.addEventListener('play',show);sound.addEventListener('seeked',show);
for(const f of figures){f.classList.add('seek');f.addEventListener('click',event=>{
const box=f.getBoundingClientRect(),x=(event.clientX-box.left)/box.width*WIDTH;
sound.currentTime=Math.max(0,(x-LEFT)/(RIGHT-LEFT)*f.dataset.seconds)})}
"""


# ---------------------------------------------------------------- the page


def write_html(
    report: Report,
    prescription: Prescription,
    notes: Notes | None,
    audio: bytes | None,
    mime: str,
    path: Path | str,
    *,
    evidence: str | None = None,
    listening: ListeningPlan | None = None,
    form: Form = (),
) -> None:
    """Write the report as one self-contained page.

    notes : the piece as performed, None where there is none (a MIDI that could not be read).
    audio : the contents of a sound file of the type `mime` ("audio/flac"), None for no player.
    evidence : what is known about the goal, shown wherever the goal is.
    listening : the plan of the listener it was made for; see `personal` for what is shown of it.
    form : names and starts (s) of the sections, marked above the notes where there are several.
    """
    sections = [
        _heading(report, prescription, evidence),
        _listener(listening) if listening else "",
        _player(audio, mime),
        _figures(report, notes, form),
        _table(report),
        _safety(report),
        _sounds(report),
        _definitions(report),
        _prescription(prescription),
        f"<p class='note soft'>{escape(WORDING)}</p>",
        f"<script>{_script()}</script>" if audio is not None else "",
    ]
    title = f"Conformance report {report.prescription_id}"
    whole = page.frame(
        title, "\n".join(sections), page.STYLE + FIGURE_STYLE, script=audio is not None
    )
    Path(path).write_text(whole, encoding="utf-8")


def _script() -> str:
    return f"const WIDTH={WIDTH},LEFT={LEFT},RIGHT={RIGHT};{SCRIPT}"


def _heading(report: Report, prescription: Prescription, evidence: str | None) -> str:
    lines = ["<h1>Conformance report</h1>"]
    goal = f"goal <b>{escape(prescription.goal)}</b> · " if prescription.goal else ""
    length = clock(prescription.duration_s)
    lines.append(
        f"<p class='soft'>{goal}{length} · prescription {escape(report.prescription_id)}</p>"
    )
    if prescription.goal and evidence:
        lines.append(f"<p class='note'>Evidence for the goal: <b>{escape(evidence)}</b></p>")
    if report.failure:
        lines.append(f"<p class='score fail'><b>✗</b> Not judged: {escape(report.failure)}</p>")
    else:
        lines.append(
            f"<p class='score'><b>{len(report.met)} of {len(report.asked)}</b> asked attributes "
            f"met <span class='soft'>({report.score:.0%})</span></p>"
        )
    return "\n".join(lines)


def _listener(plan: ListeningPlan) -> str:
    """Warnings, the override, and what was changed for the listener."""
    warnings = "".join(f"<li>⚠ {escape(warning)}</li>" for warning in plan.warnings)
    allowed = plan.override
    let_pass = (
        f"<p>Let pass the screen by {escape(f'{allowed.who}: {allowed.why}')}</p>"
        if allowed
        else ""
    )
    rows = [
        f"<tr><th scope='row'>{escape(change.control)}</th>"
        f"<td>{escape(personal.told(change.before))}</td>"
        f"<td>{escape(personal.told(change.after))}</td><td>{escape(change.reason)}</td>"
        f"<td>{escape('; '.join((change.strength, *change.citations)))}</td></tr>"
        for change in personal.changes(plan)
    ]
    names = ("control", "preset", "for the listener", "why", "evidence")
    changed = page.table(names, rows) if rows else "<p>Nothing differs from the goal's preset.</p>"
    return (
        f"<h2>For listener {escape(plan.listener)}</h2><ul class='warnings'>{warnings}</ul>"
        f"{let_pass}{changed}"
    )


def _player(audio: bytes | None, mime: str) -> str:
    if audio is None:
        return ""
    data = base64.b64encode(audio).decode("ascii")
    return f"<audio controls preload='metadata' src='data:{escape(mime)};base64,{data}'></audio>"


def _figures(report: Report, notes: Notes | None, form: Form) -> str:
    asked, others = figures(report, notes, form)
    parts = [
        "<h2>Asked against realised</h2>",
        f"<div class='scroll'>{asked}</div>",
        "<p><small>Dashed: asked. Band: tolerance. Line: realised, as compared (means over four "
        "bars, tempo bar by bar). Dots: single bars. Orange line: heard in the sound. ρ: Spearman "
        "correlation over bars.</small></p>",
    ]
    if others:
        parts.append(
            "<details><summary>Curves that were not asked for</summary>"
            f"<div class='scroll'>{others}</div></details>"
        )
    return "\n".join(parts)


def _table(report: Report) -> str:
    return (
        f"<h2>Verdicts</h2>{_verdicts(report, 'asked')}<p><small>In brackets: filled in by the "
        "planner, not asked. A limit holds for every track and does not count as asked. Moves: of "
        "the movement that a curve clearly asks for, the share that is made.</small></p>"
    )


def _safety(report: Report) -> str:
    rows = _verdicts(report, "safety")
    return rows and (
        f"<h2>Safety</h2>{rows}<p><small>Limits for every track, and figures without a limit; they "
        f"do not count as asked. {_level(report)}</small></p>"
    )


def _verdicts(report: Report, section: Section) -> str:
    """A table of the rows of a section; "" where there is none."""
    names = ("attribute", "measured on", "asked", "realised", "off by", "allowed", "verdict")
    rows = []
    for verdict in (v for v in report.verdicts if v.section == section):
        attribute, *figures_of, outcome = (escape(cell) for cell in cells(report, verdict))
        style = "" if verdict.verdict in ("pass", "fail") else " class='open'"
        rows.append(
            f"<tr{style}><th scope='row'>{attribute}{_flag(verdict)}</th>"
            + "".join(f"<td>{cell}</td>" for cell in figures_of)
            + f"<td class='verdict {verdict.verdict.split()[0]}'>{outcome}</td></tr>"
        )
    return page.table(names, rows) if rows else ""


def _flag(verdict: Verdict) -> str:
    return f"<small class='flag'>⚠ {escape(verdict.flag)}</small>" if verdict.flag else ""


def _sounds(report: Report) -> str:
    """What the music sounds like: figures that are reported, not judged."""
    found = [v for v in report.verdicts if v.section == "sound"]
    flags = [_flag(v) for v in found]
    first = [flag * (flag not in flags[:place]) for place, flag in enumerate(flags)]  # said once
    rows = [
        f"<tr><th scope='row'>{escape(v.attribute)}{flag}</th><td>{v.where}</td>"
        f"<td>{escape(_realised(report, v))}</td><td>{escape(v.extent)}</td>"
        f"<td><small>{escape(v.source)}</small></td></tr>"
        for v, flag in zip(found, first, strict=True)
    ]
    if not rows:
        return ""
    table = page.table(("quality", "measured on", "figure", "of the music", "how"), rows)
    drawn = qualities(report)
    curves = f"<details><summary>Over time</summary><div class='scroll'>{drawn}</div></details>"
    return (
        f"<h2>What it sounds like</h2>{table}<p><small>Reported, not judged. Happy, sad, scary and "
        "peaceful are what listeners would say that the music expresses (1-7), not what it does to "
        f"them. {_level(report)}</small></p>{curves if drawn else ''}"
    )


def _level(report: Report) -> str:
    """The playback level that figures of the report assume; "" where none does."""
    levels = {v.playback_db_spl for v in report.verdicts if v.playback_db_spl is not None}
    return "".join(
        f"Sone, phon, acum, asper, vacil, dBA and hours a week assume that a track of -23 LUFS is "
        f"played at {level:g} dB SPL."
        for level in levels
    )


def _definitions(report: Report) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(v.attribute)}</th><td>{v.where}</td>"
        f"<td>{escape(_allowed(v))}</td><td>{escape(v.source)}</td></tr>"
        for v in report.verdicts
        if v.section != "sound"  # those stand with their figures
    )
    return (
        "<details><summary>Definitions and tolerances</summary><p><small>[E] marks an engineering "
        f"choice without direct evidence.</small></p><table><tbody>{rows}</tbody></table></details>"
    )


def _prescription(prescription: Prescription) -> str:
    text = json.dumps(prescription.to_dict(), indent=2, ensure_ascii=False)
    return f"<details><summary>Prescription</summary><pre>{escape(text)}</pre></details>"


# ---------------------------------------------------------------- the table in words


COUNTING = (
    "An attribute counts once, and is met where it passes on notes and on sound alike. Rows marked "
    "(limit) hold for every track and do not count."
)


def summary(report: Report) -> str:
    """What was asked, what is, and the verdict, as text for a terminal; limits stand last."""
    rows: list[tuple[str, ...]] = [
        ("attribute", "on", "asked", "realised", "off by", "allowed", "verdict")
    ]
    judged = [v for v in report.verdicts if v.verdict in ("pass", "fail")]
    rows += [cells(report, v) for v in sorted(judged, key=lambda v: v.limit)]
    flagged = [v for v in report.verdicts if v.flag and v.section != "sound"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[6]])
        for row in rows
    ]
    lines += [f"! {v.attribute} ({v.where}): {v.flag}" for v in flagged]
    if report.failure:
        return "\n".join([*lines, f"Not judged: {report.failure}"])
    return "\n".join([*lines, COUNTING, met(report)])


def met(report: Report) -> str:
    """The score in words."""
    return f"{len(report.met)} of {len(report.asked)} asked attributes met ({report.score:.0%})"


def cells(report: Report, verdict: Verdict) -> tuple[str, ...]:
    """A row as text: attribute, where, asked, realised, off by, allowed, verdict."""
    curve = report.curve(verdict.attribute, verdict.where)
    asked = _ends(curve)[0] if curve else shown(verdict.asked)
    asked = asked + _unit(verdict) * (verdict.asked is not None)
    if verdict.verdict == "not asked" and verdict.asked is not None:
        asked = f"({asked})"
    limit = " (limit)" if verdict.limit else ""
    return (
        verdict.attribute + limit,
        verdict.where,
        asked,
        _realised(report, verdict),
        _off(verdict),
        _allowed(verdict),
        f"{SIGNS[verdict.verdict]} {verdict.verdict}",
    )


def _unit(verdict: Verdict) -> str:
    return f" {verdict.unit}" if verdict.unit not in ("", "0-1", "1-7", "ratio") else ""


def _realised(report: Report, verdict: Verdict) -> str:
    """What was measured, with its unit and the playback level that it assumes."""
    if verdict.realised is None:
        return "–"
    curve = report.curve(verdict.attribute, verdict.where)
    text = (_ends(curve)[1] if curve else shown(verdict.realised)) + _unit(verdict)
    level = verdict.playback_db_spl
    return text if level is None else f"{text} at {level:g} dB SPL"


def _ends(curve: BarCurve) -> tuple[str, str]:
    """Asked and realised in words: one level, where a line starts and ends, or the range."""
    asked = np.array(curve.asked, dtype=float)
    told = np.isfinite(asked)
    real = phrase_means(np.array(curve.realised, dtype=float), curve.phrase)
    real = real[np.isfinite(real)]
    mean = shown(float(real.mean())) if len(real) else "–"
    if not told.any() or np.ptp(asked[told]) < 0.01 * np.abs(asked[told]).max():
        return (shown(float(asked[told].mean())) if told.any() else "–"), mean
    steps = np.diff(asked[told])
    if (steps <= 1e-6).all() or (steps >= -1e-6).all():
        ends = [f"{shown(v[0])} → {shown(v[-1])}" for v in (asked[told], real) if len(v)]
    else:
        ends = [f"{shown(v.min())} to {shown(v.max())}" for v in (asked[told], real) if len(v)]
    return ends[0], ends[1] if len(real) else "–"


def _off(verdict: Verdict) -> str:
    if verdict.error is None or (verdict.rule in ("same", "same set") and not verdict.error):
        return "–"
    if verdict.rule == "same":
        return "differs"
    if verdict.rule == "same set":
        return f"F1 {1 - verdict.error:.2f}"
    if verdict.rule in ("at most", "at least"):
        return "–" if verdict.error <= 0 else shown(verdict.error)
    off = shown(verdict.error) + (" %" if verdict.rule == "within %" else "")
    return off if verdict.moved is None else f"{off}, moves {verdict.moved:.0%}"


def _allowed(verdict: Verdict) -> str:
    moves = "" if verdict.moved is None else f", moves ≥ {LEAST_MOVED:.0%}"
    match verdict.rule, verdict.asked, verdict.tolerance:
        case _, _, None:
            return "–"
        case "within", _, tolerance:
            return f"± {tolerance:g}{moves}"
        case "within %", _, tolerance:
            return f"± {tolerance:g} %{moves}"
        case "at most", float(asked), tolerance:
            return f"≤ {asked + tolerance:g}"
        case "at least", float(asked), tolerance:
            return f"≥ {asked - tolerance:g}"
        case "rings on", _, tolerance:
            return f"− {tolerance:g}, + {tolerance + RING_S:g}"
    return "exact"
