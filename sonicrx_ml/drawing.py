"""Figures as SVG: the piano roll, and on the same time axis what was asked against what is.

What was asked is dashed, with the tolerance as a band; what is, is solid. Notes are coloured by
instrument, in the colours of Okabe & Ito, which colour-blind readers tell apart. Figures are drawn
in units of an SVG 1000 wide; time runs from LEFT to RIGHT.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from sonicrx_ml.notes import DRUMS, Floats, Notes
from sonicrx_ml.tolerances import instrument_name
from sonicrx_ml.verdicts import BarCurve, Report, Series, Verdict, phrase_means

WIDTH, LEFT, RIGHT = 1000.0, 56.0, 984.0
PANEL, GAP, HEADING = 96.0, 14.0, 22.0  # height of a curve, between panels, of a panel's title
STRIP = 18.0  # height of the names of the sections
ROLL_LIMITS = (150.0, 300.0)  # height of the piano roll
SMALL_ROLL = (60.0, 90.0)  # of the one that stands in print
SMALL_TEXT = 14.0 / 12.0  # its letters are larger: 1000 units are the width of a sheet
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c7a00", "#808080")
VELOCITY_TIERS = (0, 48, 72, 128)

FIGURE_STYLE = """
.fig{--ink:#1c2430;--soft:#5d6876;--line:#dfe4ea;--bar:#eef1f5;--real:#0072b2;--heard:#d55e00}
@media(prefers-color-scheme:dark){.fig{--ink:#e8ecf1;--soft:#9aa6b4;--line:#333c47;--bar:#262e38;
--real:#56b4e9;--heard:#f0a35e}.fig .notes{filter:brightness(1.45)}}
.fig text{font:11px system-ui,sans-serif;fill:var(--soft)}
.fig .title{font-weight:600;font-size:12px;fill:var(--ink)}
.fig .grid{stroke:var(--line)}.fig .bar{stroke:var(--bar)}
.fig path{fill:none}
.fig .section{fill:var(--bar);stroke:var(--line)}
.fig .band{fill:var(--soft);opacity:.16}
.fig .asked{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}
.fig .real{stroke:var(--real);stroke-width:2.5;stroke-linejoin:round}
.fig .heard{stroke:var(--heard);stroke-width:1.3;stroke-linejoin:round}
.fig .dots{stroke:var(--real);stroke-width:4;stroke-linecap:round;opacity:.4}
.fig .head{stroke:var(--heard);stroke-width:1.5;visibility:hidden}
"""


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


Form: TypeAlias = Sequence[tuple[str, float]]
"""Name and start (s) of each section."""


def picture(notes: Notes, report: Report | None = None, sections: Form = ()) -> str:
    """A piano roll, and with a report the asked curves under it, as a whole SVG file."""
    seconds = _seconds(report, notes)
    panels = [*_form(sections, notes, seconds), _roll(notes, seconds)]
    if report is not None:
        panels += _panels(report, seconds)[0]
    return _svg(panels, report, seconds, alone=True)


def figures(report: Report, notes: Notes | None, sections: Form = ()) -> tuple[str, str]:
    """Two SVG elements for a page: notes and asked curves, and the others ("" where none is).

    Several sections are marked above the notes.
    """
    seconds = _seconds(report, notes)
    asked, others, _ = _panels(report, seconds)
    roll = [*_form(sections, notes, seconds), _roll(notes, seconds)] if notes is not None else []
    return (
        _svg([*roll, *asked], report, seconds),
        _svg(others, report, seconds) if others else "",
    )


def qualities(report: Report) -> str:
    """An SVG element of what the music sounds like over time; "" where nothing was measured."""
    seconds = _seconds(report, None)
    panels = _panels(report, seconds)[2]
    return _svg(panels, report, seconds) if panels else ""


def small_roll(notes: Notes) -> str:
    """The piano roll as a low SVG element for a printed page."""
    seconds = _seconds(None, notes)
    return _svg([_roll(notes, seconds, SMALL_ROLL, SMALL_TEXT)], None, seconds)


def clock(seconds: float) -> str:
    """Minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


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
            f"<text x='{x:.1f}' y='{bottom + 18:.0f}' text-anchor='middle'>{clock(second)}</text>"
        )
    return "".join(parts)


def _x(times: ArrayLike, seconds: float) -> Floats:
    return LEFT + np.asarray(times, dtype=np.float64) / seconds * (RIGHT - LEFT)


def _heading_text(title: str, x: float = LEFT) -> str:
    return f"<text class='title' x='{x:.0f}' y='12'>{escape(title)}</text>"


def _roll(
    notes: Notes, seconds: float, limits: tuple[float, float] = ROLL_LIMITS, text: float = 1.0
) -> Panel:
    """Piano roll: one path per instrument and tier of velocity; louder is more opaque.

    `limits` of the height; `text`: size of the letters, for the spaces between the names.
    """
    pitched = notes.program != DRUMS
    shown = notes.pitch[pitched] if pitched.any() else notes.pitch
    low, high = float(shown.min(initial=127)) - 2, float(shown.max(initial=0)) + 2
    row = float(np.clip((high - low) * 6.0, *limits)) / (high - low)
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
        name = instrument_name(int(program)).replace("_", " ")
        parts.append(
            f"<g class='notes' stroke='{colour}' stroke-width='{max(2.0, 0.86 * row):.1f}'>"
            f"{_note_paths(notes.select(notes.program == program), scale, seconds)}</g>"
            f"<rect x='{legend:.0f}' y='2' width='11' height='11' rx='2' fill='{colour}'/>"
            f"{_heading_text(name, legend + 16)}"
        )
        legend += (34 + 7.0 * len(name)) * text
    return Panel(scale.height, "".join(parts))


def _form(sections: Form, notes: Notes, seconds: float) -> list[Panel]:
    """A strip of the sections' names; none where there is only one."""
    if len(sections) < 2:
        return []
    starts = _x([start for _, start in sections], seconds)
    ends = np.append(starts[1:], _x(notes.end_seconds, seconds))
    parts = []
    for (name, _), start, end in zip(sections, starts, ends, strict=True):
        parts.append(
            f"<rect class='section' x='{start:.1f}' y='1' width='{max(1.0, end - start - 2):.1f}' "
            f"height='{STRIP - 2:.0f}' rx='3'/>"
        )
        if end - start > 7.0 * len(name) + 4:
            middle = (start + end) / 2 - 1
            parts.append(
                f"<text x='{middle:.1f}' y='13' text-anchor='middle'>{escape(name)}</text>"
            )
    return [Panel(STRIP, "".join(parts))]


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


def _panels(report: Report, seconds: float) -> tuple[list[Panel], list[Panel], list[Panel]]:
    """Panels of the asked attributes, of the others and of the music's qualities.

    A curve heard in sound joins its notes'. A series that is held to a level counts as asked.
    """
    asked: list[Panel] = []
    others: list[Panel] = []
    sounds: list[Panel] = []
    for curve in (c for c in report.curves if c.where == "notes"):
        heard = [c for c in report.curves if c.where == "sound" and c.attribute == curve.attribute]
        row = report.row(curve.attribute)
        where = asked if row.verdict in ("pass", "fail") else others
        panel = _curve_panel(curve, heard, report, seconds)
        if panel is not None:
            (sounds if row.section == "sound" else where).append(panel)
    for series in report.series:
        (sounds if series.asked is None else asked).append(_series_panel(series, seconds))
    return asked, others, sounds


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
