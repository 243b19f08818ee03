"""The anchor in sampling: during its bars the leading family plays the motif, note for note.

Right where a note of the motif begins, the leading family strikes it, and lets it sound for as long
as it lasts; no other onset passes it by. Where other families play too, the leading one plays
nothing else; alone, it may accompany itself below the motif's lowest note. All else is the
composer's, which hears the motif as part of the stream and harmonises around it.

The motif's own notes come before every other rule but the grammar; in the bars from its first onset
to its last the other rules hold for all other notes. There the composer, which has not chosen the
tune and is less sure of itself, is held nearer to what it finds likely: its temperature is lowered
to `CALM` of what it is elsewhere, with which the music around a motif is about as likely to it as
the rest (benchmarks/anchor.md; what it was without: docs/log.md).

A melody that comes back (`themes`) is played in the same way, laid as soon as it is composed. It is
the leading family's top line, and what else that family plays in a bar is below it. It is the
composer's own, so the temperature stays as it is.

Shapes: B streams, V vocabulary, K bars, P positions of a bar, F families.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import rules
from sonicrx_ml.canonical import GRID, nearest_duration
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import BarPlan
from sonicrx_ml.rules import Ensemble, Flags, Ints, Register, Rule, State, of_bar
from sonicrx_ml.themes import Melody
from sonicrx_ml.tokens import BAR, DURATION, EOS, PITCH, POSITION, PROGRAM

ROOM = 3  # semitones below the motif that always hold a note of the scale
ANY = 128  # above every pitch
TOKENS_PER_NOTE = 4
CALM = 0.7  # of the temperature, around a motif


def anchored(
    held: Sequence[Rule], wishes: Sequence[Rule], plans: Sequence[BarPlan]
) -> tuple[list[Rule], list[Rule]]:
    """The rules of `rules_for` (`Grammar` first) and wishes; where a plan has an anchor, that is
    the only rule and holds the others."""
    if not any(plan.forced or plan.returns for plan in plans):
        return list(held), list(wishes)
    anchor = Anchor(plans, held)
    return [anchor], [_Sparing(wish, anchor) for wish in wishes]


class _Sparing:
    """A wish that has no say in the motif's own notes; the anchor is asked before it."""

    def __init__(self, wish: Rule, anchor: Anchor) -> None:
        self.wish, self.anchor = wish, anchor

    def allowed(self, state: State) -> Flags:
        return self.wish.allowed(state) | self.anchor.own_BV


@dataclass(slots=True)
class _Due:
    """What the motif wants of each stream. Vectors of length B."""

    here: Ints
    """Pitch of the motif's note that begins at this onset; -1 for none."""
    length: Ints
    """Its length, grid positions."""
    pending: Flags
    """It has not been struck yet."""
    following: Ints
    """Position of the bar's next note of the motif; as many as a bar has for none."""
    leads: Flags
    """The last family named is the leading one."""
    struck: Flags
    """It has just been struck."""
    midway: Flags
    """The leading family has begun a lower note at this onset."""
    below: Ints
    """Pitches that the leading family may add are lower than this; -1 where it may add none."""
    room: Flags
    """Something else may sound at positions of its own."""
    urgent: Flags
    """The bar has only just room for what is left of the motif."""


class Anchor:
    """The motif where the plans have it, and the other rules."""

    def __init__(self, plans: Sequence[BarPlan], held: Sequence[Rule]) -> None:
        self.grammar, self.others = held[0], list(held[1:])
        (self.ensemble,) = (rule for rule in held if isinstance(rule, Ensemble))
        (self.register,) = (rule for rule in held if isinstance(rule, Register))
        self.lead = np.array([list(FAMILIES).index(plan.families[0]) for plan in plans])
        bars = max(len(plan) for plan in plans)
        self.sizes = [_size(plan) for plan in plans]
        self.positions = max(self.sizes)
        self.pitch_BKP = np.full((len(plans), bars, self.positions), -1, dtype=np.int16)
        self.length_BKP = np.zeros_like(self.pitch_BKP)
        self.inside_BK = np.zeros((len(plans), bars), dtype=bool)
        self.lowest_BK = np.full((len(plans), bars), -1)
        for row, plan in enumerate(plans):
            self._lay(row, plan)
        self.alone_BK = rules.playing_families(plans).sum(axis=2) == 1
        fits_BK = self._fits(self.lowest_BK, slice(None))
        self.below_BK = np.where(self.alone_BK & fits_BK, self.lowest_BK, -1)
        self.room_BK = ~self.alone_BK | fits_BK
        self.temperature_BK = np.where(self.inside_BK, np.float32(CALM), np.float32(1.0))
        """What the temperature is multiplied by."""
        rows, within = np.nonzero(self.inside_BK)
        self.ensemble.playing_BKF[rows, within, self.lead[rows]] = False  # the motif sees to it
        self.own_BV: Flags = np.zeros((len(plans), 1), dtype=bool)
        """Tokens with which the motif goes on, as of the last call of `allowed`."""

    def _lay(self, row: int, plan: BarPlan) -> None:
        unit = 4.0 / plan.bars.meters[0].denominator / GRID
        for place in plan.forced:
            bar, position = np.divmod(np.rint(place.onset / unit).astype(int), _size(plan))
            self.pitch_BKP[row, bar, position] = place.pitch
            self.length_BKP[row, bar, position] = nearest_duration(place.length / unit)
            self.inside_BK[row, bar[0] : bar[-1] + 1] = True
            self.lowest_BK[row, bar[0] : bar[-1] + 1] = place.pitch.min()

    def _fits(self, lowest: Ints, at: Any) -> Flags:
        """Whether there is room below the lowest note of bars."""
        low, high = self.register.low[at], self.register.high[at]
        fits: Flags = np.minimum(lowest - 1, high) - low >= ROOM - 1
        return fits

    def take_up(self, rows: Sequence[int], first: int, line: Melody) -> None:
        """Have streams play a melody of whole bars, from bar `first` on."""
        bar, position = np.divmod(line.onset, self.sizes[rows[0]])
        bars = first + np.arange(bar.max() + 1)
        lowest = np.full(len(bars), ANY)
        np.minimum.at(lowest, bar, line.pitch)
        for row in rows:
            self.pitch_BKP[row, first + bar, position] = line.pitch
            self.length_BKP[row, first + bar, position] = line.length
            self.inside_BK[row, bars] = True
            self.ensemble.playing_BKF[row, bars, self.lead[row]] = False
            fits = self._fits(lowest, (row, bars))
            self.below_BK[row, bars] = np.where(fits, lowest, -1)
            self.room_BK[row, bars] = ~self.alone_BK[row, bars] | fits

    def allowed(self, state: State) -> Flags:
        grammar_BV = self.grammar.allowed(state)
        inside = of_bar(self.inside_BK, state.bar) & (state.bar >= 0)
        if not inside.any():
            self.own_BV = np.zeros((len(inside), 1), dtype=bool)
            return rules.narrowed(grammar_BV, self.others, state)
        due, due_BF = self._due(state), self.ensemble.due(state)
        others_first = (state.kind == POSITION) & due_BF.any(axis=1) & ~due.urgent
        own_BV = self._own(state, due, others_first) & grammar_BV & inside[:, None]
        self.own_BV = own_BV
        allowed_BV = rules.narrowed(grammar_BV, self.others, state, own_BV)
        kept_BV = allowed_BV & self._fitting(state, due, due_BF)
        only = due.urgent & ((state.kind == DURATION) | ((state.kind == POSITION) & due.pending))
        kept_BV = np.where(only[:, None], own_BV, kept_BV)
        kept = inside & kept_BV.any(axis=1)
        state.yielded += inside & ~kept
        return np.where(kept[:, None], kept_BV, allowed_BV)

    def _due(self, state: State) -> _Due:
        rows, at = np.arange(len(state.bar)), state.position.clip(0)
        pitch_BP, length_BP = (of_bar(v, state.bar) for v in (self.pitch_BKP, self.length_BKP))
        here = np.where(state.position >= 0, pitch_BP[rows, at], -1)
        leads, begun = state.family == self.lead, state.used_BF[rows, self.lead]
        midway = leads & begun & (state.pitch < here)
        pending = (here >= 0) & (~begun | midway)
        struck = leads & (here >= 0) & (state.pitch == here)
        later_BP = (pitch_BP >= 0) & (np.arange(self.positions) > state.position[:, None])
        left = later_BP.sum(axis=1) + pending
        return _Due(
            here=here,
            length=length_BP[rows, at],
            pending=pending,
            following=np.where(later_BP.any(axis=1), later_BP.argmax(axis=1), self.positions),
            leads=leads,
            struck=struck,
            midway=midway,
            below=of_bar(self.below_BK, state.bar),
            room=of_bar(self.room_BK, state.bar),
            urgent=(left > 0) & (state.bar_tokens + TOKENS_PER_NOTE * left >= rules.TOKENS_PER_BAR),
        )

    def _own(self, state: State, due: _Due, others_first: Flags) -> Flags:
        """(B, V): tokens with which the motif goes on."""
        kind_V, value_V = state.kind_V, state.value_V
        now = due.pending & ~others_first
        more = ~due.pending & (due.following < self.positions)
        onset = more[:, None] & (value_V == due.following[:, None])
        program = (now & ~due.leads)[:, None] & (value_V == self.lead[:, None])
        pitch = (now & due.leads)[:, None] & (value_V == due.here[:, None])
        duration = due.struck[:, None] & (value_V == due.length[:, None])
        tests = {POSITION: onset, PROGRAM: program, PITCH: pitch, DURATION: duration}
        own_BV: Flags = _by_kind(kind_V, tests, False)
        return own_BV

    def _fitting(self, state: State, due: _Due, due_BF: Flags) -> Flags:
        """(B, V): tokens that leave the motif as it is."""
        kind_V, value_V = state.kind_V, state.value_V
        pending, leads, here = (v[:, None] for v in (due.pending, due.leads, due.here))
        following, last = due.following[:, None], (due.following == self.positions)[:, None]
        accompanies = (due.below >= 0)[:, None]
        lower = value_V < due.below[:, None]
        onset = ~pending & ((value_V == following) | (due.room[:, None] & (value_V < following)))
        lead_now = pending | ((here < 0) & accompanies)
        before = value_V < self.lead[:, None]  # families come in order
        before = before | due_BF[:, state.family_V]
        other_now = ~pending | (~due.midway[:, None] & before)
        program = np.where(value_V == self.lead[:, None], lead_now, other_now)
        pitch = ~leads | (pending & (value_V == here)) | ((pending | (here < 0)) & lower)
        duration = ~due.struck[:, None] | (value_V == due.length[:, None])
        leave = ~pending & last
        tests = {POSITION: onset, PROGRAM: program, PITCH: pitch, DURATION: duration,
                 BAR: leave, EOS: leave}  # fmt: skip
        return _by_kind(kind_V, tests, True)


def _by_kind(kind_V: Ints, tests: dict[int, NDArray[np.bool_]], rest: bool) -> Flags:
    """(B, V): the test of each token's kind; `rest` for kinds that have none."""
    found_BV = np.full((len(next(iter(tests.values()))), len(kind_V)), rest)
    for kind, test_BV in tests.items():
        mine = kind_V == kind
        found_BV[:, mine] = test_BV[:, mine] if test_BV.shape[1] > 1 else test_BV
    return found_BV


def _size(plan: BarPlan) -> int:
    """Grid positions of a bar."""
    return plan.bars.meters[0].numerator * GRID
