"""What the page says: a prescription in a sentence, the evidence for a goal, the check in words.

Everything from outside is escaped here. Verdicts have a shape and a word besides their colour.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from sonicrx_ml.curve import Curve
from sonicrx_ml.fitting import ListeningPlan, shown
from sonicrx_ml.goals import Evidence, library
from sonicrx_ml.page import table
from sonicrx_ml.prescription import OPEN_INSTRUMENTS, Prescription
from sonicrx_ml.report import cells, met
from sonicrx_ml.verdicts import Report, Verdict

NOTHING_YET = "<p class='soft'>Nothing has been made yet.</p>"
TO_BE_HEARD = (
    "<p class='soft'>What you generate is heard here, its first seconds while the rest is "
    "composed; two takes stand side by side.</p>"
)
COLUMNS = ("attribute", "verdict", "measured on", "asked", "realised", "off by", "allowed")


def describe(prescription: Prescription) -> str:
    """A prescription in a sentence: length, tempo, key, instruments, breathing."""
    names = [n.replace("_", " ") for n in prescription.instruments or OPEN_INSTRUMENTS]
    parts = [
        length(prescription.duration_s),
        _range(prescription.tempo_curve, "beats per minute"),
        _key(prescription),
        listed(names),
    ]
    if prescription.breaths_per_min is not None:
        parts.append(_range(prescription.breaths_per_min, "breaths a minute"))
    if prescription.anchor is not None:
        parts.append(f"an anchor {times(len(prescription.anchor_shares))}")
    if prescription.final_silence_s:
        parts.append(f"the last {length(prescription.final_silence_s)} silent")
    return ", ".join(parts)


def length(seconds: float) -> str:
    """Minutes and seconds in words."""
    minutes, rest = divmod(round(seconds), 60)
    parts = [f"{minutes} minute{'s' * (minutes != 1)}"] * bool(minutes) + [f"{rest} s"] * bool(rest)
    return " ".join(parts) or "0 s"


def listed(names: Sequence[str]) -> str:
    """Names with commas and an and."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _key(prescription: Prescription) -> str:
    if prescription.key is None:
        return f"any {prescription.mode or ''} key".replace("  ", " ")
    return f"{prescription.key} {prescription.mode or 'major'}"


def _range(curve: Curve, unit: str) -> str:
    """From the first level over the lowest or highest to the last."""
    levels = [value for _, value in curve.points]
    first, last = levels[0], levels[-1]
    if min(levels) == max(levels):
        return f"{first:g} {unit}"
    between = [f"{v:g}" for v in (min(levels), max(levels)) if v not in (first, last)]
    return " to ".join([f"from {first:g}", *between, f"{last:g} {unit}"])


# ---------------------------------------------------------------- before it is made


def evidence_html(found: Evidence) -> str:
    """What is known about a goal, with the mark of its strength and its sources."""
    return (
        f"<p><b>{escape(found.title)}</b>: {escape(found.claim)}</p>"
        f"<p>Evidence: <b>{found.strength}</b>, {escape(library().strengths[found.strength])} "
        f"({escape('; '.join(found.citations))}).</p>"
        f"<p>⚠ {escape(found.caution)}</p>"
    )


def marks_html() -> str:
    known = library().strengths.items()
    marks = " · ".join(f"<b>{mark}</b> {escape(said)}" for mark, said in known)
    return f"<p class='soft'>Marks of evidence: {marks}; <b>own</b> your choice.</p>"


def asked_html(sentence: str, time_to_make: str) -> str:
    return (
        f"<p class='summary' role='status'><b>Asked:</b> {escape(sentence)}.<br>"
        f"<small>{escape(time_to_make)}</small></p>"
    )


def refusal_html(why: str) -> str:
    return f"<p class='alert' role='alert'>✗ Not possible: {escape(why)}</p>"


def fitted_html(plan: ListeningPlan) -> str:
    """Warnings of the screen, who let it pass, and what differs for the listener."""
    allowed = plan.override
    passed = f"<p>Let pass by {escape(f'{allowed.who}: {allowed.why}')}</p>" if allowed else ""
    changes = "".join(
        f"<li>{escape(change.control.replace('_', ' '))}: {escape(shown(change.before))} → "
        f"{escape(shown(change.after))}; {escape(change.reason)} "
        f"[{escape('; '.join((change.strength, *change.citations)))}]</li>"
        for change in plan.changes
    )
    title = f"What differs for {escape(plan.listener)} ({len(plan.changes)})"
    changed = f"<details><summary>{title}</summary><ul>{changes}</ul></details>"
    return warnings_html(plan.warnings) + passed + (changed if changes else "")


def warnings_html(warnings: Iterable[str]) -> str:
    items = "".join(f"<li>⚠ {escape(warning)}</li>" for warning in warnings)
    return f"<ul class='warnings'>{items}</ul>" if items else ""


# ---------------------------------------------------------------- after


def check_html(report: Report, warnings: Iterable[str] = ()) -> str:
    """What the judge found: warnings and what was missed first, the rest in a table."""
    if report.failure:
        return refusal_html(f"not judged: {report.failure}")
    judged = [v for v in report.verdicts if v.verdict in ("pass", "fail")]
    missed = sorted((v for v in judged if v.verdict == "fail"), key=lambda v: not v.limit)
    flags = [f"{v.attribute} ({v.where}): {v.flag}" for v in judged if v.flag]
    sign = _sign("met" if not missed else "missed")
    first = [*warnings, *(_missed(report, v) for v in missed), *flags]
    passed = [v for v in judged if v.verdict == "pass"]
    return (
        f"<p>{sign}<b>{escape(met(report))}</b></p>"
        f"{warnings_html(first)}"
        f"<h3>Asked against realised</h3>{_rows(report, [*missed, *passed])}"
    )


def _missed(report: Report, verdict: Verdict) -> str:
    name, where, asked, real, _, allowed, _ = cells(report, verdict)
    return f"Missed: {name}, measured on the {where}: asked {asked}, is {real}; allowed {allowed}."


def _rows(report: Report, verdicts: Iterable[Verdict]) -> str:
    rows = []
    for verdict in verdicts:
        name, *figures, _ = (escape(cell.replace("_", " ")) for cell in cells(report, verdict))
        outcome = "met" if verdict.verdict == "pass" else "missed"
        rows.append(
            f"<tr><th scope='row'>{name}</th>"
            f"<td class='verdict {outcome}'>{_sign(outcome)}{outcome}</td>"
            f"{''.join(f'<td>{cell}</td>' for cell in figures)}</tr>"
        )
    return table(COLUMNS, rows)


def _sign(outcome: str) -> str:
    """A tick in a circle or a cross in a square."""
    mark = "✓" if outcome == "met" else "✗"
    return f"<span class='{outcome}'><span class='shape' aria-hidden='true'>{mark}</span></span>"


def report_html(page: str) -> str:
    """The whole report in a frame of its own."""
    return f"<iframe title='Whole report' srcdoc='{escape(page)}'></iframe>"
