"""The peak of an arc in sampling: everybody meets on its first beat, on one harmony.

In the peak's bar all notes but the appoggiatura's are of its triad (`appoggiatura`); who plays
strikes at the first beat, below the appoggiatura. The appoggiatura itself is played by the leading
family, as an anchor is (`anchoring`); where that plays alone, it strikes a lower note too. What
began before is to be over by then: a wish (see `pacing`), since a melody taken up is kept as it is.

Shapes: B streams, V vocabulary, K bars, F families.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sonicrx_ml import rules
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.rules import Flags, Register, Rule, State, of_bar, playing_families
from sonicrx_ml.tokens import DURATION

NOWHERE = -9  # a bar before all
ROOM = 5  # semitones that always hold a tone of a triad


class Arrival:
    """The bar of the peak."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        peaks = [plan.climax for plan in plans]
        self.bar = _bars(plans)
        self.own_BX = np.array([(-1, -1) if peak is None else peak.pitch for peak in peaks])
        chords = [range(12) if peak is None else peak.chord for peak in peaks]
        self.chord_BC = np.stack([np.isin(np.arange(12), chord) for chord in chords])
        self.lead = np.array([list(FAMILIES).index(plan.families[0]) for plan in plans])
        self.playing_BKF = playing_families(plans)
        self.room = self.own_BX[:, 1] - of_bar(Register(plans).low, self.bar) >= ROOM

    def allowed(self, state: State) -> Flags:
        here = state.bar == self.bar
        if not here.any():
            return np.ones((1, len(state.kind_V)), dtype=bool)
        playing_BF = of_bar(self.playing_BKF, state.bar)
        meeting, few = state.position == 0, state.bar_tokens < rules.TOKENS_PER_BAR // 2
        silent = (playing_BF & ~state.used_BF).any(axis=1)
        waiting = meeting & (state.kind == DURATION) & silent & few
        leaves_BV = waiting[:, None] & (state.onset_V | state.leaves_V)
        lead = (state.family == self.lead)[:, None]
        own_BV = lead & (state.value_V[..., None] == self.own_BX[:, None]).any(axis=-1)
        strange_BV = state.pitch_V & ~(self.chord_BC[:, state.class_V] | own_BV)
        bare = (state.onset_notes == 0) & (playing_BF.sum(axis=1) == 1)
        below_BV = state.value_V < self.own_BX[:, :1]
        high_BV = state.pitch_V & ~below_BV & (~own_BV | bare[:, None])
        high_BV &= (meeting & self.room)[:, None]
        return ~(leaves_BV | strange_BV | high_BV) | ~here[:, None]


class Clear:
    """What begins before the bar of the peak ends before it."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.bar = _bars(plans)

    def allowed(self, state: State) -> Flags:
        bars = (self.bar - state.bar)[:, None]
        left = bars * state.size[:, None] - state.position[:, None]
        return ~((bars > 0) & state.duration_V & (state.value_V > left))


def _bars(plans: Sequence[BarPlan]) -> rules.Ints:
    return np.array([NOWHERE if plan.climax is None else plan.climax.bar for plan in plans])


def arrivals_for(plans: Sequence[BarPlan]) -> tuple[list[Rule], list[Rule]]:
    """Rules and wishes; none where no plan has an arc."""
    if not any(plan.climax for plan in plans):
        return [], []
    return [Arrival(plans)], [Clear(plans)]
