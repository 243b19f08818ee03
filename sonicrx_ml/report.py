"""A report to read: a page, a picture of the music, and a table for the terminal.

`write_html` makes one file that asks the network for nothing: style and script are inline, figures
are inline SVG, the sound is a data URI. `picture` is the same figure on its own (a README, a
notebook, an experiment log): the piano roll, coloured by instrument, and under it on the same time
axis what was asked (dashed, with the tolerance as a band) against what is (solid). Colours are
those of Okabe & Ito, which colour-blind readers tell apart; every verdict has a sign and a word.

Figures are drawn in units of an SVG 1000 wide; time runs from LEFT to RIGHT.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from sonicrx_ml.conformance import (
    RING_S,
    BarCurve,
    Report,
    Series,
    Verdict,
    instrument_name,
    phrase_means,
)
from sonicrx_ml.notes import DRUMS, Floats, Notes
from sonicrx_ml.prescription import Prescription

WIDTH, LEFT, RIGHT = 1000.0, 56.0, 984.0
PANEL, GAP, HEADING = 96.0, 14.0, 22.0  # height of a curve, between panels, of a panel's title
ROLL_LIMITS = (150.0, 300.0)  # height of the piano roll
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#808080")
VELOCITY_TIERS = (0, 48, 72, 128)
SIGNS = {"pass": "✓", "fail": "✗", "not asked": "–", "info": "ℹ"}
WORDING = (
    "Wellness use; not a medical device; adjunct to care. "
    "Conformance says that the track is what was asked for, not that it works."
)

FIGURE_STYLE = """
.fig{--ink:#1c2430;--soft:#5d6876;--line:#dfe4ea;--bar:#eef1f5;--real:#0072b2;--heard:#d55e00}
@media(prefers-color-scheme:dark){.fig{--ink:#e8ecf1;--soft:#9aa6b4;--line:#333c47;--bar:#262e38;
--real:#56b4e9;--heard:#f0a35e}.fig .notes{filter:brightness(1.45)}}
.fig text{font:11px system-ui,sans-serif;fill:var(--soft)}
.fig .title{font-weight:600;font-size:12px;fill:var(--ink)}
.fig .grid{stroke:var(--line)}.fig .bar{stroke:var(--bar)}
.fig path{fill:none}
.fig .band{fill:var(--soft);opacity:.16}
.fig .asked{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}
.fig .real{stroke:var(--real);stroke-width:2.5;stroke-linejoin:round}
.fig .heard{stroke:var(--heard);stroke-width:1.3;stroke-linejoin:round}
.fig .dots{stroke:var(--real);stroke-width:4;stroke-linecap:round;opacity:.4}
.fig .head{stroke:var(--heard);stroke-width:1.5;visibility:hidden}
"""

PAGE_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6876;--line:#dfe4ea;--paper:#fff;
--card:#f6f8fa;--pass:#00629b;--fail:#b84a00}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#9aa6b4;--line:#333c47;
--paper:#14191f;--card:#1c232b;--pass:#56b4e9;--fail:#f0a35e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 3rem;max-width:66rem;color:var(--ink);
background:var(--paper);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
p{margin:.3rem 0}.soft,small{color:var(--soft)}
.score{font-size:1.15rem;margin:1rem 0 .2rem}.score b{font-size:1.9rem}
.note{border-left:3px solid var(--line);padding:.1rem .8rem;margin:1rem 0}
audio{width:100%;margin:1rem 0 0}
.scroll{overflow-x:auto}.scroll svg{display:block;width:100%;min-width:640px;height:auto}
.seek{cursor:pointer}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.34rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-size:.8rem;color:var(--soft);font-weight:600}
tbody th{font-weight:500;white-space:nowrap}
td.verdict{white-space:nowrap;font-weight:600}
.pass{color:var(--pass)}.fail{color:var(--fail)}
tr.open,tr.open th{color:var(--soft)}tr.open td.verdict{font-weight:400}
details{margin:1rem 0}summary{cursor:pointer;font-weight:600}
pre{background:var(--card);padding:.8rem;border-radius:6px;overflow-x:auto}
@media print{body{max-width:none;padding:0}audio,.head{display:none}}
"""

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
) -> None:
    """Write the report as one self-contained page.

    notes : the piece as performed, None where there is none (a MIDI that could not be read).
    audio : the contents of a sound file of the type `mime` ("audio/flac"), None for no player.
    evidence : what is known about the goal, shown wherever the goal is.
    """
    sections = [
        _heading(report, prescription, evidence),
        _player(audio, mime),
        _figures(report, notes),
        _table(report),
        _definitions(report),
        _prescription(prescription),
        f"<p class='note soft'>{escape(WORDING)}</p>",
        f"<script>{_script()}</script>" if audio is not None else "",
    ]
    Path(path).write_text(_page(report.prescription_id, "\n".join(sections)), encoding="utf-8")


def _page(title: str, body: str) -> str:
    """The policy in the head has a browser refuse whatever would leave the file."""
    policy = (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "media-src data:; img-src data:"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Conformance report {escape(title)}</title>
<style>{PAGE_STYLE}{FIGURE_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _script() -> str:
    return f"const WIDTH={WIDTH},LEFT={LEFT},RIGHT={RIGHT};{SCRIPT}"


def _heading(report: Report, prescription: Prescription, evidence: str | None) -> str:
    lines = ["<h1>Conformance report</h1>"]
    goal = f"goal <b>{escape(prescription.goal)}</b> · " if prescription.goal else ""
    length = _clock(prescription.duration_s)
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


def _player(audio: bytes | None, mime: str) -> str:
    if audio is None:
        return ""
    data = base64.b64encode(audio).decode("ascii")
    return f"<audio controls preload='metadata' src='data:{escape(mime)};base64,{data}'></audio>"


def _figures(report: Report, notes: Notes | None) -> str:
    seconds = _seconds(report, notes)
    asked, others = _panels(report, seconds)
    roll = [_roll(notes, seconds)] if notes is not None else []
    parts = [
        "<h2>Asked against realised</h2>",
        f"<div class='scroll'>{_svg([*roll, *asked], report, seconds)}</div>",
        "<p><small>Dashed: asked. Band: tolerance. Line: realised, as compared (means over four "
        "bars, tempo bar by bar). Dots: single bars. Orange line: heard in the sound. ρ: Spearman "
        "correlation over bars.</small></p>",
    ]
    if others:
        parts.append(
            "<details><summary>Curves that were not asked for</summary>"
            f"<div class='scroll'>{_svg(others, report, seconds)}</div></details>"
        )
    return "\n".join(parts)


def _table(report: Report) -> str:
    names = ("attribute", "measured on", "asked", "realised", "off by", "allowed", "verdict")
    head = "".join(f"<th scope='col'>{name}</th>" for name in names)
    rows = []
    for verdict in report.verdicts:
        attribute, *cells, outcome = (escape(cell) for cell in _cells(report, verdict))
        style = "" if verdict.verdict in ("pass", "fail") else " class='open'"
        rows.append(
            f"<tr{style}><th scope='row'>{attribute}</th>"
            + "".join(f"<td>{cell}</td>" for cell in cells)
            + f"<td class='verdict {verdict.verdict.split()[0]}'>{outcome}</td></tr>"
        )
    body = "\n".join(rows)
    return (
        f"<h2>Verdicts</h2><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div><p><small>In brackets: filled in by the planner, not "
        "asked. A limit holds for every track and does not count as asked.</small></p>"
    )


def _definitions(report: Report) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{escape(v.attribute)}</th><td>{v.where}</td>"
        f"<td>{escape(_allowed(v))}</td><td>{escape(v.source)}</td></tr>"
        for v in report.verdicts
    )
    return (
        "<details><summary>Definitions and tolerances</summary><p><small>[E] marks an engineering "
        f"choice without direct evidence.</small></p><table><tbody>{rows}</tbody></table></details>"
    )


def _prescription(prescription: Prescription) -> str:
    text = json.dumps(prescription.to_dict(), indent=2, ensure_ascii=False)
    return f"<details><summary>Prescription</summary><pre>{escape(text)}</pre></details>"


# ---------------------------------------------------------------- the table in words


def summary(report: Report) -> str:
    """What was asked, what is, and the verdict, as text for a terminal."""
    rows: list[tuple[str, ...]] = [
        ("attribute", "on", "asked", "realised", "off by", "allowed", "verdict")
    ]
    rows += [_cells(report, v) for v in report.verdicts if v.verdict in ("pass", "fail")]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[6]])
        for row in rows
    ]
    met = f"{len(report.met)} of {len(report.asked)} asked attributes met ({report.score:.0%})"
    return "\n".join([*lines, f"Not judged: {report.failure}" if report.failure else met])


def _cells(report: Report, verdict: Verdict) -> tuple[str, ...]:
    """The seven cells of a row, as text."""
    asked, realised = _shown(verdict.asked), _shown(verdict.realised)
    for curve in report.curves:
        if (curve.attribute, curve.where) == (verdict.attribute, verdict.where):
            asked, realised = _ends(curve)
    unit = f" {verdict.unit}" if verdict.unit not in ("", "0-1", "ratio") else ""
    asked = asked + unit * (verdict.asked is not None)
    if verdict.verdict == "not asked" and verdict.asked is not None:
        asked = f"({asked})"
    limit = " (limit)" if verdict.limit else ""
    return (
        verdict.attribute + limit,
        verdict.where,
        asked,
        realised + unit * (verdict.realised is not None),
        _off(verdict),
        _allowed(verdict),
        f"{SIGNS[verdict.verdict]} {verdict.verdict}",
    )


def _ends(curve: BarCurve) -> tuple[str, str]:
    """Asked and realised in words: one level, where a line starts and ends, or the range."""
    asked = _floats(curve.asked)
    told = np.isfinite(asked)
    real = phrase_means(_floats(curve.realised), curve.phrase)
    real = real[np.isfinite(real)]
    mean = _shown(float(real.mean())) if len(real) else "–"
    if not told.any() or np.ptp(asked[told]) < 0.01 * np.abs(asked[told]).max():
        return (_shown(float(asked[told].mean())) if told.any() else "–"), mean
    steps = np.diff(asked[told])
    if (steps <= 1e-6).all() or (steps >= -1e-6).all():
        ends = [f"{_shown(v[0])} → {_shown(v[-1])}" for v in (asked[told], real) if len(v)]
    else:
        ends = [f"{_shown(v.min())} to {_shown(v.max())}" for v in (asked[told], real) if len(v)]
    return ends[0], ends[1] if len(real) else "–"


def _off(verdict: Verdict) -> str:
    if verdict.error is None or (verdict.rule in ("same", "same set") and not verdict.error):
        return "–"
    if verdict.rule == "same":
        return "differs"
    if verdict.rule == "same set":
        return f"F1 {1 - verdict.error:.2f}"
    if verdict.rule in ("at most", "at least"):
        return "–" if verdict.error <= 0 else _shown(verdict.error)
    return _shown(verdict.error) + (" %" if verdict.rule == "within %" else "")


def _allowed(verdict: Verdict) -> str:
    match verdict.rule, verdict.asked, verdict.tolerance:
        case _, _, None:
            return "–"
        case "within", _, tolerance:
            return f"± {tolerance:g}"
        case "within %", _, tolerance:
            return f"± {tolerance:g} %"
        case "at most", float(asked), tolerance:
            return f"≤ {asked + tolerance:g}"
        case "at least", float(asked), tolerance:
            return f"≥ {asked - tolerance:g}"
        case "rings on", _, tolerance:
            return f"− {tolerance:g}, + {tolerance + RING_S:g}"
    return "exact"


def _shown(value: float | str | None) -> str:
    """A number with as many digits as matter to a reader."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    digits = 1 if abs(value) >= 10 else 2
    text = f"{value + 0.0:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


# ---------------------------------------------------------------- the figure


@dataclass(frozen=True, slots=True)
class Panel:
    """A strip of the figure, drawn from its own upper edge down."""

    height: float
    body: str


@dataclass(frozen=True, slots=True)
class Scale:
    """Values to heights within a panel: `low` at the bottom, `high` below the heading."""

    low: float
    high: float
    height: float

    def y(self, values: Floats) -> Floats:
        share = (values - self.low) / (self.high - self.low)
        return HEADING + (1.0 - share) * (self.height - HEADING)

    def grid(self, count: int = 3) -> str:
        """Horizontal lines at round values, labelled on the left."""
        values = ticks(self.low, self.high, count)
        lines = zip(values, self.y(values), strict=True)
        return "".join(
            f"<path class='grid' d='M{LEFT} {y:.1f}H{RIGHT}'/>"
            f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>{value:g}</text>"
            for value, y in lines
        )


def picture(notes: Notes, report: Report | None = None) -> str:
    """A piano roll, and with a report the asked curves under it, as a whole SVG file."""
    seconds = _seconds(report, notes)
    panels = [_roll(notes, seconds)]
    if report is not None:
        panels += _panels(report, seconds)[0]
    return _svg(panels, report, seconds, alone=True)


def piano_roll(notes: Notes) -> str:
    """The notes over time, coloured by instrument, as a whole SVG file."""
    return picture(notes)


def ticks(low: float, high: float, count: int) -> Floats:
    """Round values (1, 2 or 5 times a power of ten apart) within low..high, about `count`."""
    rough = (high - low) / count
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * min((1, 2, 5, 10), key=lambda nice: abs(np.log(nice * power / rough)))
    steps = np.arange(np.ceil(low / step), np.floor(high / step + 1e-9) + 1)
    return np.round(steps * step, 9) + 0.0  # no -0


def _seconds(report: Report | None, notes: Notes | None) -> float:
    """Where the time axis ends."""
    ends = [1.0]
    if report is not None:
        heard = [v.realised for v in report.verdicts if v.attribute == "duration"]
        ends += [report.bar_seconds[-1], *(v for v in heard if isinstance(v, float))]
    if notes is not None:
        ends.append(notes.end_seconds)
    return max(ends)


def _svg(
    panels: Sequence[Panel], report: Report | None, seconds: float, *, alone: bool = False
) -> str:
    """Panels under one another over a common time axis."""
    tops = np.cumsum([6.0, *(panel.height + GAP for panel in panels)])
    bottom = float(tops[-1]) - GAP
    placed = "".join(
        f"<g transform='translate(0 {top:.0f})'>{panel.body}</g>"
        for top, panel in zip(tops, panels, strict=False)
    )
    head = f"<path class='head' d='M0 0V{bottom:.0f}'/>"
    space = " xmlns='http://www.w3.org/2000/svg'" if alone else ""
    style = f"<style>{FIGURE_STYLE}</style>" if alone else ""
    return (
        f"<svg class='fig' role='img' aria-label='Piano roll and curves over time'{space} "
        f"viewBox='0 0 {WIDTH:.0f} {bottom + 24:.0f}' data-seconds='{seconds:.3f}'>{style}"
        f"{_time_grid(report, seconds, bottom)}{placed}{head}</svg>"
    )


def _time_grid(report: Report | None, seconds: float, bottom: float) -> str:
    """Bar lines (so many that they can be told apart) and labelled clock times."""
    parts = []
    if report is not None:
        lines = np.array(report.bar_seconds)
        every = next(n for n in (1, 2, 4, 8, 16, 32, 64, 4096) if len(lines) / n <= 90)
        drawn = "".join(f"M{x:.1f} 0V{bottom:.0f}" for x in _x(lines[::every], seconds))
        parts.append(f"<path class='bar' d='{drawn}'/>")
    step = next(s for s in (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200) if seconds / s <= 14)
    for second in np.arange(0, seconds + 1e-9, step):
        x = float(_x(second, seconds))
        parts.append(f"<path class='grid' d='M{x:.1f} {bottom:.0f}v5'/>")
        parts.append(
            f"<text x='{x:.1f}' y='{bottom + 18:.0f}' text-anchor='middle'>{_clock(second)}</text>"
        )
    return "".join(parts)


def _x(times: ArrayLike, seconds: float) -> Floats:
    return LEFT + np.asarray(times, dtype=np.float64) / seconds * (RIGHT - LEFT)


def _heading_text(title: str, x: float = LEFT) -> str:
    return f"<text class='title' x='{x:.0f}' y='12'>{escape(title)}</text>"


def _roll(notes: Notes, seconds: float) -> Panel:
    """Piano roll: one path per instrument and tier of velocity; louder is more opaque."""
    pitched = notes.program != DRUMS
    shown = notes.pitch[pitched] if pitched.any() else notes.pitch
    low, high = float(shown.min(initial=127)) - 2, float(shown.max(initial=0)) + 2
    row = float(np.clip((high - low) * 6.0, *ROLL_LIMITS)) / (high - low)
    scale = Scale(low, high, HEADING + row * (high - low))
    octaves = np.arange(np.ceil(low / 12), np.floor(high / 12) + 1) * 12
    parts = [
        f"<path class='grid' d='M{LEFT} {y:.1f}H{RIGHT}'/>"
        f"<text x='{LEFT - 6}' y='{y + 4:.1f}' text-anchor='end'>C{int(pitch) // 12 - 1}</text>"
        for pitch, y in zip(octaves, scale.y(octaves), strict=True)
    ]
    legend = LEFT
    for index, program in enumerate(np.unique(notes.program)):
        colour = COLOURS[index % len(COLOURS)]
        name = instrument_name(int(program))
        parts.append(
            f"<g class='notes' stroke='{colour}' stroke-width='{max(2.0, 0.86 * row):.1f}'>"
            f"{_note_paths(notes.select(notes.program == program), scale, seconds)}</g>"
            f"<rect x='{legend:.0f}' y='2' width='11' height='11' rx='2' fill='{colour}'/>"
            f"{_heading_text(name, legend + 16)}"
        )
        legend += 34 + 7.0 * len(name)
    return Panel(scale.height, "".join(parts))


def _note_paths(notes: Notes, scale: Scale, seconds: float) -> str:
    starts = _x(notes.tempo.seconds(notes.onset), seconds)
    widths = np.maximum(_x(notes.tempo.seconds(notes.release), seconds) - starts - 0.5, 0.8)
    heights = scale.y(np.clip(notes.pitch, scale.low, scale.high))
    paths = []
    for (soft, loud), opacity in zip(
        itertools.pairwise(VELOCITY_TIERS), (0.6, 0.8, 1.0), strict=True
    ):
        chosen = (notes.velocity >= soft) & (notes.velocity < loud)
        columns = zip(starts[chosen], heights[chosen], widths[chosen], strict=True)
        drawn = "".join(f"M{x:.1f} {y:.1f}h{width:.1f}" for x, y, width in columns)
        if drawn:
            paths.append(f"<path opacity='{opacity}' d='{drawn}'/>")
    return "".join(paths)


def _panels(report: Report, seconds: float) -> tuple[list[Panel], list[Panel]]:
    """Panels of the asked attributes and of the others; a curve heard in sound joins its notes'."""
    asked: list[Panel] = []
    others: list[Panel] = []
    for curve in (c for c in report.curves if c.where == "notes"):
        heard = [c for c in report.curves if c.where == "sound" and c.attribute == curve.attribute]
        wanted = report.row(curve.attribute).verdict in ("pass", "fail")
        panel = _curve_panel(curve, heard, report, seconds)
        if panel is not None:
            (asked if wanted else others).append(panel)
    return asked + [_series_panel(series, seconds) for series in report.series], others


def _curve_panel(
    curve: BarCurve, heard: Sequence[BarCurve], report: Report, seconds: float
) -> Panel | None:
    """Asked (dashed, with its band) and realised (line and dots) over the bars."""
    asked, real = _floats(curve.asked), _floats(curve.realised)
    edges = np.array(report.bar_seconds)
    width = _band(report.row(curve.attribute), asked)
    lines = [real, *(_floats(other.realised) for other in heard)]
    scale = _fit(np.concatenate([asked - width, asked + width, *lines]))
    if scale is None:
        return None
    centres = (edges[1:] + edges[:-1]) / 2
    smooth = phrase_means(real, curve.phrase)
    parts = [
        scale.grid(),
        f"<path class='band' d='{_steps(edges, asked, scale, seconds, width)}'/>",
        f"<path class='asked' d='{_steps(edges, asked, scale, seconds)}'/>",
    ]
    if curve.phrase > 1:
        parts.append(f"<path class='dots' d='{_dots(centres, real, scale, seconds)}'/>")
    parts.append(f"<path class='real' d='{_line(centres, smooth, scale, seconds)}'/>")
    parts += [
        f"<path class='heard' d='{_line(centres, line, scale, seconds)}'/>" for line in lines[1:]
    ]
    unit = f", {curve.unit}" if curve.unit not in ("", "0-1", "ratio") else ""
    title = _heading_text(f"{curve.attribute}{unit}")
    if curve.rho is not None:
        title += f"<text x='{RIGHT}' y='12' text-anchor='end'>ρ {curve.rho:.2f}</text>"
    return Panel(PANEL, title + "".join(parts))


def _series_panel(series: Series, seconds: float) -> Panel:
    """A series of the sound, and the level asked; the 5 % lowest values (its ends) may be cut."""
    values = _floats(series.values)
    told = values[np.isfinite(values)]
    floor = np.percentile(told, 5) - 3.0 if len(told) else -np.inf
    values = np.where(values < floor, np.nan, values)
    scale = _fit(np.append(values, _floats([series.asked]))) or Scale(0.0, 1.0, PANEL)
    line = _line(np.array(series.seconds), values, scale, seconds)
    parts = [_heading_text(f"{series.name}, {series.unit}"), scale.grid()]
    if series.asked is not None:
        level = float(scale.y(np.array(series.asked)))
        parts.append(f"<path class='asked' d='M{LEFT} {level:.1f}H{RIGHT}'/>")
    return Panel(PANEL, "".join([*parts, f"<path class='heard' d='{line}'/>"]))


def _band(verdict: Verdict, asked: Floats) -> Floats:
    """Half the width of the tolerance around each bar's asked value."""
    if verdict.tolerance is None:
        return np.zeros(len(asked))
    relative = verdict.rule == "within %"
    return asked * verdict.tolerance / 100.0 if relative else np.full(len(asked), verdict.tolerance)


def _fit(values: Floats) -> Scale | None:
    """A scale that shows every value with some room; None where there is none."""
    told = values[np.isfinite(values)]
    if len(told) == 0:
        return None
    low, high = float(told.min()), float(told.max())
    room = max(0.06 * (high - low), 0.01 * abs(high), 0.01)
    return Scale(low - room, high + room, PANEL)


def _steps(
    edges: Floats, values: Floats, scale: Scale, seconds: float, width: Floats | None = None
) -> str:
    """Level by bar, or with a width the area that far to both sides; bars without one are gaps."""
    low = scale.y(values if width is None else values - width)
    high = low if width is None else scale.y(values + width)
    starts, ends = _x(edges[:-1], seconds), _x(edges[1:], seconds)
    told = np.isfinite(values)
    columns = zip(starts[told], ends[told], low[told], high[told], strict=True)
    if width is not None:
        return "".join(f"M{a:.1f} {y:.1f}H{b:.1f}V{top:.1f}H{a:.1f}z" for a, b, y, top in columns)
    joined = np.append(False, told[:-1])[told]
    return "".join(
        f"{'V' if follows else f'M{a:.1f} '}{y:.1f}H{b:.1f}"
        for (a, b, y, _), follows in zip(columns, joined, strict=True)
    )


def _line(times: Floats, values: Floats, scale: Scale, seconds: float) -> str:
    """A line through the values that there are, broken where there are none."""
    told = np.isfinite(values)
    joined = np.append(False, told[:-1])[told]
    columns = zip(_x(times[told], seconds), scale.y(values[told]), joined, strict=True)
    return "".join(f"{'L' if follows else 'M'}{x:.1f} {y:.1f}" for x, y, follows in columns)


def _dots(times: Floats, values: Floats, scale: Scale, seconds: float) -> str:
    told = np.isfinite(values)
    columns = zip(_x(times[told], seconds), scale.y(values[told]), strict=True)
    return "".join(f"M{x:.1f} {y:.1f}h0" for x, y in columns)


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values])
