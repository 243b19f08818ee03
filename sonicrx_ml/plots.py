"""Figures of an evaluation: what was asked against what became, what moves what, likeness.

Every figure has a panel or a mark for each column. Colours are those of Okabe & Ito and a map from
orange over white to purple, which colour-blind readers tell apart; marks differ in shape too.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.layout_engine import ConstrainedLayoutEngine

from sonicrx_ml.drawing import COLOURS
from sonicrx_ml.evaluation import CURVES, level
from sonicrx_ml.notes import Floats
from sonicrx_ml.results import Tracks
from sonicrx_ml.statistics import Estimate
from sonicrx_ml.suite import Judged
from sonicrx_ml.verdicts import Verdict

STYLE: dict[Any, Any] = {
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8b95a1",
    "xtick.color": "#5d6876",
    "ytick.color": "#5d6876",
    "text.color": "#1c2430",
    "axes.labelcolor": "#1c2430",
    "svg.hashsalt": "sonicrx",  # equal figures, equal bytes
}
MARKS = "oDs^vPX*"
FAR = 1e3  # beyond every attribute
ACROSS = 3  # heat maps in a row
INK, SOFT, LINE = "#1c2430", "#5d6876", "#dfe4ea"
UNITS = {"tempo": "BPM", "density": "onsets/s", "polyphony": "notes", "register": "MIDI pitch"}


def svg(figure: Figure) -> str:
    """A figure as an SVG file that stands alone."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None})
    return text.getvalue()


# ---------------------------------------------------------------- asked against realised


def asked_realised(tracks: Tracks) -> Figure | None:
    """A row of panels per attribute, a panel per column, a dot per track: means over bars.

    The dashed line is where they are equal, the band the judge's tolerance. Failed tracks have no
    dot; the heading counts them. None where no attribute was asked.
    """
    rows = [name for name in CURVES if _asked(name, tracks)]
    if not rows:
        return None
    with mpl.rc_context(STYLE):
        size = 1.75 * len(tracks) + 0.6, 1.6 * len(rows) + 0.4
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(len(rows), len(tracks), squeeze=False, sharex="row", sharey="row")
        for axes, attribute in zip(grid, rows, strict=True):
            for panel, judged in zip(axes, tracks.values(), strict=True):
                _scatter(panel, judged, attribute)
            _equal_limits(axes)
            axes[0].set_ylabel(f"{_titled(attribute)}\nrealised")
        for panel, (name, judged) in zip(grid[0], tracks.items(), strict=True):
            panel.set_title(_heading(name, judged), fontweight="bold")
        figure.supxlabel("asked", fontsize=9)
    return figure


def _asked(attribute: str, tracks: Tracks) -> bool:
    return any(attribute in j.report.asked for judged in tracks.values() for j in judged)


def _titled(attribute: str) -> str:
    return f"{attribute}, {UNITS[attribute]}" if attribute in UNITS else attribute


def _heading(name: str, judged: Sequence[Judged]) -> str:
    failed = sum(j.report.failure is not None for j in judged)
    return label(name) + (f"\n{failed} failed" if failed else "")


def label(name: str) -> str:
    """The name of a column, to read."""
    return name.replace("_", " ")


def _scatter(panel: Axes, judged: Sequence[Judged], attribute: str) -> None:
    chosen = [j.report for j in judged if attribute in j.report.asked and not j.report.failure]
    asked = np.array([level(report, attribute, "asked") for report in chosen])
    realised = np.array([level(report, attribute, "realised") for report in chosen])
    size = float(np.clip(900 / max(1, len(asked)), 5, 22))
    panel.scatter(asked, realised, size, COLOURS[0], alpha=0.55, linewidths=0, rasterized=True)
    panel.axline((0, 0), slope=1, color=SOFT, linestyle="--", linewidth=0.9, zorder=0)
    panel.grid(color=LINE, linewidth=0.5)
    panel.set_axisbelow(True)
    rows = (row for j in judged if (row := j.report.find(attribute)) and row.tolerance)
    if (row := next(rows, None)) is not None:
        line = np.array([0.0, FAR])
        low, high = _band(row, line)
        panel.fill_between(line, low, high, color=SOFT, alpha=0.13, linewidth=0)


def _band(row: Verdict, asked: Floats) -> tuple[Floats, Floats]:
    """The realised values that pass, lowest and highest, where so much is asked."""
    tolerance = row.tolerance or 0.0
    width = asked * tolerance / 100 if row.rule == "within %" else np.full(len(asked), tolerance)
    low = np.full(len(asked), -FAR) if row.rule == "at most" else asked - width
    return low, asked + width


def _equal_limits(axes: Sequence[Axes]) -> None:
    """The same limits for asked and realised, from the dots of a row."""
    dots = [np.asarray(panel.collections[0].get_offsets(), dtype=float) for panel in axes]
    told = np.concatenate(dots)
    told = told[np.isfinite(told).all(axis=1)]
    low, high = (float(told.min()), float(told.max())) if len(told) else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    for panel in axes:
        panel.set(xlim=(low - room, high + room), ylim=(low - room, high + room))
        panel.locator_params(nbins=4)


# ---------------------------------------------------------------- what moves what


def heat_maps(effects: Mapping[str, Mapping[str, Mapping[str, Estimate]]]) -> Figure:
    """A map per column of `evaluation.effects`: asked down, realised across, rho in the cells."""
    across, down = min(ACROSS, len(effects)), -(-len(effects) // ACROSS)
    with mpl.rc_context(STYLE):
        size = 3.4 * across + 0.4, 3.3 * down + 0.8
        figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(hspace=0.06))
        grid = figure.subplots(down, across, squeeze=False)
        for panel, (name, table) in zip(grid.flat, effects.items(), strict=False):
            image = _heat_map(panel, table)
            panel.set_title(label(name), fontweight="bold")
        for panel in grid.flat[len(effects) :]:
            panel.set_visible(False)
        strip: dict[str, Any] = {
            "location": "bottom",
            "shrink": 0.9 / across,
            "aspect": 28,
            "pad": 0.02,
            "ticks": [-1, -0.5, 0, 0.5, 1],
        }
        bar = figure.colorbar(image, ax=grid, label="rank correlation over tracks", **strip)
        bar.outline.set_visible(False)
    return figure


def _heat_map(panel: Axes, table: Mapping[str, Mapping[str, Estimate]]) -> AxesImage:
    names = list(next(iter(table.values())))
    rho = np.array([[row[name].value for name in names] for row in table.values()])
    image = panel.imshow(rho, cmap="PuOr_r", vmin=-1, vmax=1)
    panel.set_facecolor("#f1f3f5")
    titles = [name.replace(" as ", "\nas ") for name in names]
    panel.set_xticks(range(len(names)), titles, rotation=90)
    panel.set_yticks(range(len(table)), list(table))
    panel.set(xlabel="realised", ylabel="asked")
    panel.tick_params(length=0)
    panel.spines[:].set_visible(False)
    for (row, column), value in np.ndenumerate(rho):
        text = f"{value:.2f}".replace("0.", ".").replace("-", "−") if np.isfinite(value) else "–"
        colour = "white" if abs(value) > 0.7 else INK
        panel.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    return image


# ---------------------------------------------------------------- likeness


def overlaps(likeness: Mapping[str, Mapping[str, Any]]) -> Figure | None:
    """Overlap area by feature, with its interval, a mark per column; None where there is none."""
    columns = {name: found["features"] for name, found in likeness.items() if "features" in found}
    if not columns:
        return None
    features = list(dict.fromkeys(name for found in columns.values() for name in found))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 0.9 + 0.36 * len(features)), layout="constrained")
        panel = figure.subplots()
        for index, (name, found) in enumerate(columns.items()):
            shift = 0.68 * ((index + 0.5) / len(columns) - 0.5)
            rows = [_numbers(found[feature]["overlap"]) for feature in features]
            _marks(
                panel,
                np.array(rows),
                shift + np.arange(len(features), dtype=np.float64),
                index,
                label(name),
            )
        for row in range(0, len(features), 2):
            panel.axhspan(row - 0.5, row + 0.5, color="#f4f6f8", zorder=-1)
        panel.set(xlim=(0, 1), ylim=(len(features) - 0.5, -0.5))
        panel.set_xlabel(
            "overlap area with the pieces of the test split (1: as they among themselves)"
        )
        panel.set_yticks(range(len(features)), features)
        panel.tick_params(axis="y", length=0, labelcolor=INK)
        panel.grid(axis="x", color=LINE, linewidth=0.6)
        panel.set_axisbelow(True)
        figure.legend(loc="outside right upper", frameon=False)
    return figure


def _numbers(estimate: Estimate) -> tuple[float, float, float]:
    return estimate.low, estimate.value, estimate.high


def _marks(panel: Axes, rows: Floats, y: Floats, index: int, name: str) -> None:
    """Marks at the values of (N, 3) low, value, high, with a line over the interval."""
    low, value, high = rows.T
    colour = COLOURS[index % len(COLOURS)]
    panel.hlines(y, low, high, color=colour, linewidth=1.2)
    panel.plot(value, y, MARKS[index % len(MARKS)], color=colour, markersize=4.5, label=name)
