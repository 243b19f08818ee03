"""Wishes (see `pacing`) of pieces with a form: sections come to rest, and the texture stays light.

In the last bar of a section nothing begins on the last felt beat, and from the middle of the bar on
what begins is of the tonic triad, where the mode is asked. The end of the piece has rules of its
own. Where polyphony is open, a long piece could grow ever thicker, since the composer goes on from
what it hears; so it is kept to what most real bars have.

Shapes: B streams, V vocabulary, K bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonicrx_ml.canonical import GRID
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.rules import TRIADS, Flags, Rule, State, of_bar
from sonicrx_ml.tokens import DURATION

THICKEST = 6  # notes; seven of eight bars of the training corpus have fewer sounding
BULK = 0.2  # bars by which note time may be ahead of it


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


class Light:
    """Of plans with several sections: no phrase sounds thicker than `THICKEST`."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        bars = max(len(plan) for plan in plans)
        self.open_BK = np.zeros((len(plans), bars), dtype=bool)
        for row, plan in enumerate(plans):
            if len(plan.sections) > 1:
                self.open_BK[row, : len(plan)] = np.isnan(plan.targets["polyphony"])

    def allowed(self, state: State) -> Flags:
        ahead = state.phrase_length - THICKEST * state.phrase_cover
        thick = (ahead > BULK * THICKEST * state.size) | (state.onset_notes >= THICKEST)
        held = of_bar(self.open_BK, state.bar) & thick & (state.kind == DURATION)
        return ~(held[:, None] & (state.pitch_V | state.program_V))


def joins_for(plans: Sequence[BarPlan]) -> list[Rule]:
    """None where no plan has several sections."""
    several = any(len(plan.sections) > 1 for plan in plans)
    return [Rest(plans), Light(plans)] if several else []
