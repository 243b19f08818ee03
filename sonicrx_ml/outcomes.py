"""Figures of a listener's journal: ratings before and after, session by session.

They show what was written down and claim no cause: ratings move for many reasons besides music.
"""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from sonicrx_ml.drawing import COLOURS
from sonicrx_ml.notes import Floats
from sonicrx_ml.plots import LINE, SOFT, STYLE
from sonicrx_ml.session import FIGURES, Session

PANELS = {
    "suds": "SUDS",
    "vas": "VAS, mm",
    "stai6": "STAI-6",
    "rmssd": "RMSSD, ms",
}
BEFORE, AFTER = COLOURS[1], COLOURS[0]


def before_after(sessions: Sequence[Session]) -> Figure:
    """A panel for each scale that was recorded, an arrow from before to after for each session.

    Raises `ValueError` where no session has a rating.
    """
    told = [name for name in PANELS if np.isfinite(_column(sessions, f"{name}_before")).any()]
    if not told:
        raise ValueError("no session has ratings to draw; legal is one with suds, vas, ...")
    with mpl.rc_context(STYLE):
        size = max(4.0, 1.6 + 0.3 * len(sessions)), 0.6 + 1.5 * len(told)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(told), 1, squeeze=False, sharex=True)[:, 0]
        for panel, name in zip(panels, told, strict=True):
            _arrows(panel, sessions, name)
        panels[-1].set_xlabel("session")
        panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
        panels[0].legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    return figure


def _arrows(panel: Axes, sessions: Sequence[Session], name: str) -> None:
    before, after = (_column(sessions, f"{name}_{when}") for when in ("before", "after"))
    number = np.arange(1, len(sessions) + 1)
    panel.vlines(number, before, after, color=SOFT, linewidth=1.0)
    panel.plot(number, before, "o", color=BEFORE, markersize=5, label="before")
    panel.plot(number, after, "D", color=AFTER, markersize=4.5, label="after")
    panel.set_ylabel(PANELS[name])
    if name != "rmssd":  # the whole scale, so that a small change looks small
        low, high, *_ = FIGURES[f"{name}_before"]
        panel.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    panel.grid(axis="y", color=LINE, linewidth=0.5)
    panel.set_axisbelow(True)


def _column(sessions: Sequence[Session], name: str) -> Floats:
    values = [getattr(session, name) for session in sessions]
    return np.array([np.nan if value is None else value for value in values])


__all__ = ["PANELS", "before_after"]
