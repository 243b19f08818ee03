"""The label of a track: its prescription on one printed page, A4 or Letter, black on white.

Fields are those of RG-MBI 2025, which supersedes Robb 2011, for reports of music-based
interventions; what only a clinician knows is a ruled line. Fidelity is conformance: whether the
track is what was asked for. Of a listener the page has what `personal` allows. Free text from
outside is cut at `MOST_TEXT`, so that the page stays one; `report.html` has all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sonicrx_ml import personal
from sonicrx_ml.drawing import FIGURE_STYLE, clock, small_roll
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.goals import evidence, goal_names, library, prescribe
from sonicrx_ml.hearing import ADULT, CHILD, WEEK_HOURS, WEEKLY_HOURS
from sonicrx_ml.notes import Notes
from sonicrx_ml.page import frame, shown
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.report import WORDING, cells, met
from sonicrx_ml.verdicts import Report

MOST_TEXT = 120  # characters of a free text
MOST_MISSED = 4  # attributes that are told in full; the report has all
DIGEST = 16  # hex digits of a hash; the manifest has all
OWN = "own"  # in place of a mark: neither the preset's value nor a listener's
NAMES = {
    "breaths_per_min": "breaths",
    "breath_depth_db": "depth of a breath",
    "final_silence_s": "final silence",
    "max_sharpness_acum": "sharpness up to",
    "playback_db_spl": "playback level",
}
NOT_MUSIC = ("duration_s", "goal", "target_lufs", "playback_db_spl", "seed")
NOT_SCREENED = "No listener's profile was given: go through the safety screen first."
NO_CAUTION = "A goal of one's own: no evidence is claimed, and no caution is known to go with it."

STYLE = """
@page{margin:9mm 12mm}
:root{color-scheme:only light}
*{box-sizing:border-box}
body{margin:0 auto;padding:8mm;max-width:202mm;color:#000;background:#fff;
font:8.4pt/1.25 "Liberation Sans",Arial,Helvetica,sans-serif}
header{display:flex;justify-content:space-between;align-items:baseline;gap:6mm}
h1{font-size:15pt;line-height:1.15;margin:0}
p,ul{margin:0}ul{padding-left:4mm}
.id{font-weight:700;white-space:nowrap}
.wording{margin:.6mm 0 1.6mm}
.warnings{border:1.2pt solid #000;padding:1mm 2mm;margin-bottom:1.4mm}
.warnings ul{columns:2;column-gap:6mm}.warnings li{break-inside:avoid}
table{border-collapse:collapse;width:100%}
th,td{border-top:.5pt solid #777;padding:.65mm 0;text-align:left;vertical-align:top}
th{width:27mm;padding-right:3mm}tr:has(.rule) th{padding-top:1.8mm}
tr:last-child>*{border-bottom:.5pt solid #777}
.rule{display:inline-block;border-bottom:.6pt solid #000;height:4.3mm}
.box{display:inline-block;border:.6pt solid #000;width:2.7mm;height:2.7mm;vertical-align:-.3mm}
.pair{white-space:nowrap;margin-right:2.5mm}
code{font:7.2pt/1.25 "Liberation Mono","Courier New",monospace;overflow-wrap:anywhere}
.fine{font-size:7.4pt;margin-top:1.2mm}
.fig{display:block;width:100%;height:auto;margin:.6mm 0 0}
@media print{body{padding:0;max-width:none}}
"""
# After the style of figures: ink for paper, whatever the screen's colours are.
PRINTED_FIGURE = """
body .fig{--ink:#000;--soft:#000;--line:#ccc;--bar:#ddd}
body .fig .notes{filter:none}
body .fig text,body .fig .title{font-size:14px;font-family:inherit}
body .fig .head{display:none}
"""


def page(
    prescription: Prescription,
    report: Report,
    notes: Notes | None,
    manifest: Mapping[str, Any],
    listening: ListeningPlan | None = None,
) -> str:
    """The label as HTML.

    notes : the piece as performed; None for no piano roll.
    manifest : as `compose` makes it.
    listening : the plan of the listener it was made for.
    """
    rows = [
        ("Name", _name(prescription)),
        ("Theory", _theory(prescription)),
        ("Who selected the music", _selected(listening, manifest)),
        ("Structure", _structure(prescription, listening)),
        ("For the listener", _changed(listening)),
        ("Delivery", _delivery(prescription, report)),
        ("Materials", _materials(report, manifest)),
        ("Strategy", _strategy(prescription)),
        ("Sessions", _sessions(prescription, manifest)),
        ("Interventionist", f"{_line('name, training', 66)} {_line('contact', 40)}"),
        ("Fidelity", _fidelity(report)),
        ("Setting", _setting()),
        ("Outcomes", _outcomes()),
        ("Reproduce", _reproduce(prescription, manifest, listening)),
    ]
    table = "\n".join(
        f"<tr><th scope='row'>{n}</th><td>{cell}</td></tr>" for n, cell in rows if cell
    )
    body = [
        _heading(prescription, listening),
        _warnings(prescription, listening),
        f"<table><tbody>{table}</tbody></table>",
        small_roll(notes) if notes is not None else "",
        _legend("new_bars" in manifest),
    ]
    title = f"Listening plan {prescription.id}"
    return frame(title, "\n".join(body), STYLE + FIGURE_STYLE + PRINTED_FIGURE)


# ---------------------------------------------------------------- what stands above the fields


def _heading(prescription: Prescription, listening: ListeningPlan | None) -> str:
    whom = escape(listening.listener) if listening else _line("", 24)
    return (
        f"<header><h1>Listening plan</h1><p class='id'>listener {whom} &nbsp; "
        f"prescription {prescription.id}</p></header>"
        f"<p class='wording'>{escape(WORDING)}</p>"
    )


def _warnings(prescription: Prescription, listening: ListeningPlan | None) -> str:
    told: tuple[str, ...] = (NO_CAUTION,)
    if listening:
        told = listening.warnings
    elif prescription.goal in goal_names():
        told = (evidence(prescription.goal).caution,)
    if not listening:
        told = (*told, NOT_SCREENED)
    return f"<div class='warnings'><b>Before listening</b>{_list(told)}</div>"


def _list(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


# ---------------------------------------------------------------- fields


def _name(prescription: Prescription) -> str:
    goal = prescription.goal
    if goal not in goal_names():
        return f"<b>{escape(goal or 'track')}</b> (a goal of one's own)"
    return f"<b>{escape(evidence(goal).title)}</b> (goal {goal})"


def _theory(prescription: Prescription) -> str:
    """What is known of the goal, with its mark, and how the music of its preset is meant to act."""
    if prescription.goal not in goal_names():
        return _line("how the music is meant to act", 100)
    known = evidence(prescription.goal)
    mark = f"<b>[{known.strength}: {escape('; '.join(known.citations))}]</b>"
    return f"{escape(known.claim)} {mark} What the preset is made for: {escape(known.theory)}"


def _selected(listening: ListeningPlan | None, manifest: Mapping[str, Any]) -> str:
    given = " on to music that was given," if "new_bars" in manifest else ""
    asked = (
        f"Composed by SonicRx{given} as prescribed by {_line('', 44)} "
        f"{_box('chosen with the listener')}"
    )
    if listening is None or listening.override is None:
        return asked
    allowed = listening.override
    return f"{asked}<br>Let pass the screen by {_cut(f'{allowed.who}: {allowed.why}')}"


def _structure(prescription: Prescription, listening: ListeningPlan | None) -> str:
    """Every control that was asked, with its mark, and what was left to the composer."""
    marks = _marks(prescription, listening)
    asked = {name: getattr(prescription, name) for name in CONTROLS if name not in NOT_MUSIC}
    parts = [
        f"{_control(name)} {_with_unit(name, value)} [{marks.get(name, OWN)}]"
        for name, value in asked.items()
        if value not in (None, 0.0)
    ]
    free = [name for name in ("tempo", "key", "mode", "meter", "instruments") if not asked[name]]
    left = [f"left open: {', '.join(free)}"] if free else []
    return escape("; ".join(parts + left))


def _control(name: str) -> str:
    return NAMES.get(name, name.replace("_", " "))


def _with_unit(name: str, value: Any) -> str:
    return " ".join(filter(None, (personal.told(value), CONTROLS[name].unit)))


def _marks(prescription: Prescription, listening: ListeningPlan | None) -> dict[str, str]:
    """The strength of each value that is the preset's, or was fitted to the listener."""
    fitted = {
        change.control: change.strength
        for change in (personal.changes(listening) if listening else ())
        if change.after == getattr(prescription, change.control)
    }
    if prescription.goal not in goal_names():
        return fitted
    preset = prescribe(prescription.goal, prescription.duration_s)
    return {
        parameter.name: parameter.strength
        for parameter in evidence(prescription.goal).parameters
        if getattr(prescription, parameter.name) == getattr(preset, parameter.name)
    } | fitted


def _changed(listening: ListeningPlan | None) -> str:
    """A running line: of the longest it saves a third of the height of a line each."""
    found = personal.changes(listening) if listening else ()
    return " · ".join(
        escape(
            f"{_control(change.control)}: {personal.told(change.before)} became "
            f"{_with_unit(change.control, change.after)}; {change.reason} "
            f"[{'; '.join((change.strength, *change.citations))}]"
        )
        for change in found
        if personal.told(change.before) != personal.told(change.after)
    )


def _delivery(prescription: Prescription, report: Report) -> str:
    return (
        f"{_line('device', 34)} {_box('headphones')} {_box('loudspeaker')} "
        f"{_line('level measured', 18)}<br>"
        f"Playback level {prescription.playback_db_spl:g} dB SPL; {_dose(report)}. ITU-T H.870, "
        f"other listening included: {WEEKLY_HOURS:g} h a week at {ADULT:g} dBA, children "
        f"{CHILD:g} dBA, half the time for each 3 dB more."
    )


def _dose(report: Report) -> str:
    """Level at the ear, and hours a week until the dose of ITU-T H.870 is full."""
    names = ("level at the ear", "hearing dose", "hearing dose, children")
    found = [report.find(name, "sound") for name in names]
    if None in found:
        return "level at the ear and weekly limit not measured"
    ear, adult, child = (shown(v.realised) for v in found if v)
    return (
        f"{ear} dBA at the ear; weekly limit <b>{adult} h</b>, children {child} h "
        f"({WEEK_HOURS:g} is all of a week)"
    )


def _materials(report: Report, manifest: Mapping[str, Any]) -> str:
    heard = report.find("duration", "sound")
    length = f" ({clock(heard.realised)})" if heard and isinstance(heard.realised, float) else ""
    first, last = manifest.get("new_bars", (0, 0))
    given = f"; bars {first} to {last} are new, the rest was given" if first else ""
    return escape(
        f"track.flac{length}, track.mid, report.html; played by "
        f"{manifest['engine']} with {manifest['font']}{given}"
    )


def _strategy(prescription: Prescription) -> str:
    parts = ["Listening to recorded music composed for this plan"]
    if prescription.strategy:
        parts.append(f"strategy {prescription.strategy}")
    if prescription.breaths_per_min:
        rate = _with_unit("breaths_per_min", prescription.breaths_per_min)
        parts.append(f"the loudness breathes {rate}")
    return f"{'; '.join(parts)}."


def _sessions(prescription: Prescription, manifest: Mapping[str, Any]) -> str:
    place = manifest.get("course")
    day = f"day {place['day']} of {place['of']}; " if place else ""
    seconds = manifest.get("seconds", prescription.duration_s)
    silence = prescription.final_silence_s
    quiet = f", the last {clock(silence)} silent" if silence else ""
    return (
        f"{day}{clock(seconds)} a session{quiet}; {_line('sessions', 12)} "
        f"{_line('a week', 10)} {_line('time of day', 16)}"
    )


def _fidelity(report: Report) -> str:
    """The score, what was met by name, and what was missed, limits first, the first in full."""
    if report.failure:
        return f"Not judged: {_cut(report.failure)}"
    rows = [v for v in report.verdicts if v.verdict in ("pass", "fail")]
    limits = dict.fromkeys(v.attribute for v in rows if v.limit and v.verdict == "pass")
    failed = sorted((v for v in rows if v.verdict == "fail"), key=lambda v: not v.limit)
    missed = [cells(report, v) for v in failed]  # limits first
    parts = [f"<b>{met(report)}</b>", _named("✓", report.met)]
    parts += [
        escape(f"✗ {name}, {where}: asked {wanted}, is {real}")
        for name, where, wanted, real, *_ in missed[:MOST_MISSED]
    ]
    told = {name for name, *_ in missed[:MOST_MISSED]}
    more = dict.fromkeys(name for name, *_ in missed if name not in told)
    parts.append(_named("✗", more))
    parts.append(_named("limits for every track ✓", limits))
    return "; ".join(filter(None, parts)) + "."


def _named(sign: str, names: Iterable[str]) -> str:
    listed = escape(", ".join(names))
    return listed and f"{sign} {listed}"


def _setting() -> str:
    return f"{_line('place', 58)} {_box('individual')} {_box('group of')}{_line('', 12)}"


def _outcomes() -> str:
    scales = (("SUDS 0-10", 8), ("VAS", 8), ("STAI-6", 8), ("RMSSD, ms", 9))
    sessions = [
        f"{when}: {' '.join(_line(*scale) for scale in scales)} {last}"
        for when, last in (
            ("before", _line("date", 20)),
            ("after", f"{_line('minutes', 8)} {_line('why stopped', 12)}"),
        )
    ]
    recorded = f"RMSSD over {_line('min', 9)} at {_line('breaths a min', 9)}"
    weekly = f"a week: {' '.join(_line(scale, 12) for scale in ('PHQ-9', 'GAD-7', 'PSQI'))}"
    return "<br>".join([*sessions, f"{weekly} {recorded}"])


def _reproduce(
    prescription: Prescription, manifest: Mapping[str, Any], listening: ListeningPlan | None
) -> str:
    name = f" {_cut(manifest['checkpoint'])}" if manifest["checkpoint"] else ""
    return (
        f"<code>{escape(command(prescription, manifest, listening))}</code><br>"
        f"prescription {prescription.id}, seed {prescription.seed}; SHA-256 of checkpoint{name} "
        f"<code>{escape(manifest['checkpoint_sha256'][:DIGEST])}…</code>, of the MIDI "
        f"<code>{escape(manifest['midi_sha256'][:DIGEST])}…</code>; sonicrx_ml "
        f"{escape(manifest['versions']['sonicrx_ml'])}; all versions, and the machine: "
        "manifest.json."
    )


def command(
    prescription: Prescription,
    manifest: Mapping[str, Any],
    listening: ListeningPlan | None = None,
) -> str:
    """What makes the same MIDI bytes again, beside `prescription.json`, with this checkpoint.

    For a listener it needs the profile, and an override, told above, to pass the screen again; for
    new bars the file that they were composed on to.
    """
    first, last = manifest.get("new_bars", (0, 0))
    options = ["given=…"] if first else []
    options += [f"'fill=[{first},{last}]'"] if manifest.get("filled") else []
    options += [f"sampling.{name}={value}" for name, value in manifest["sampling"].items()]
    if listening:
        options.append(f"listener={listening.listener}.json")
        if prescription.anchor is None:
            options.append("anchor=none")
        if listening.override:
            options.append("'override=\"…\"'")
    return " ".join(["python scripts/sample.py prescription=prescription.json", *options])


def _legend(given: bool) -> str:
    chosen = "whoever prescribed chose it" + (", or it is as in what was given" if given else "")
    marks = "; ".join(f"<b>{mark}</b> {escape(said)}" for mark, said in library().strengths.items())
    return (
        f"<p class='fine'>Marks: {marks}; <b>{OWN}</b> {chosen}. Fields: RG-MBI "
        "2025, which supersedes Robb 2011.</p>"
    )


# ---------------------------------------------------------------- to be filled in by hand


def _line(label: str, millimetres: int) -> str:
    named = f"{escape(label)} " if label else ""
    rule = f"<span class='rule' style='width:{millimetres}mm'></span>"
    return f"<span class='pair'>{named}{rule}</span>"


def _box(label: str) -> str:
    return f"<span class='pair'><span class='box'></span> {escape(label)}</span>"


def _cut(text: str) -> str:
    """Escaped, and cut where it is too long for the page."""
    return escape(text if len(text) <= MOST_TEXT else f"{text[: MOST_TEXT - 1]}…")
