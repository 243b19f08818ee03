"""How sections join: a section comes to rest before the next begins.

In the last bar of a section nothing begins on the last felt beat, and from the middle of the bar on
what begins is of the tonic triad, where the mode is asked. It is a wish (see `pacing`), so it
yields where nothing else could follow. The end of the piece has rules of its own.

Shapes: B streams, V vocabulary, K bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonicrx_ml.canonical import GRID
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.rules import TRIADS, Flags, Rule, State, of_bar


class Rest:
    """The last bar of every section but the last one comes to rest."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        bars = max(len(plan) for plan in plans)
        self.closing_BK = np.zeros((len(plans), bars), dtype=bool)
        self.triad_BC = np.ones((len(plans), 12), dtype=bool)
        meters = [plan.bars.meters[0] for plan in plans]
        self.size = np.array([meter.numerator * GRID for meter in meters])
        beats = [meter.felt_beat / 4 * meter.denominator * GRID for meter in meters]
        self.last_beat = self.size - np.rint(beats).astype(int)
        for row, plan in enumerate(plans):
            self.closing_BK[row, [section.first - 1 for section in plan.sections[1:]]] = True
            if plan.mode is not None:
                self.triad_BC[row] = np.isin(np.arange(12), TRIADS[plan.mode])

    def allowed(self, state: State) -> Flags:
        closing = (of_bar(self.closing_BK, state.bar) & (state.bar >= 0))[:, None]
        late_BV = state.onset_V & (state.value_V >= self.last_beat[:, None])
        settling = (2 * state.position >= self.size)[:, None]
        strange_BV = state.pitch_V & settling & ~self.triad_BC[:, state.class_V]
        return ~(closing & (late_BV | strange_BV))


def joins_for(plans: Sequence[BarPlan]) -> list[Rule]:
    """None where no plan has several sections."""
    return [Rest(plans)] if any(len(plan.sections) > 1 for plan in plans) else []
