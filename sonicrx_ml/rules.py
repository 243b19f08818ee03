"""What a stream may say next: the state of streams, and rules that forbid tokens.

Each rule is one small class. `Grammar` alone makes every stream decodable; the others make what is
writable exact: the meter, the number of bars, the palette (and that all of it plays), the register,
the scale, the closing chord, no empty piece, the anchor.

Shapes: B streams, V vocabulary, K bars, F families.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.attributes import SCALES
from sonicrx_ml.canonical import GRID
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import PHRASE, BarPlan
from sonicrx_ml.tokens import (
    BAR,
    BOS,
    DURATION,
    EOS,
    FOLLOWS,
    METER,
    PAD,
    PITCH,
    POSITION,
    PROGRAM,
    Vocabulary,
)

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

TOKENS_PER_BAR = 160  # a stream that fills a bar with more is made to go on to the next bar
FADE = 0.9  # of what a note counts for in `recent_BC`, a whole note later
SILENT_BARS = 1  # bars in a row that may stay empty


class State:
    """Where each of the B streams is. Vectors of length B unless said otherwise."""

    def __init__(self, batch: int, vocabulary: Vocabulary) -> None:
        self.kind_V = vocabulary.kind
        self.value_V = vocabulary.value
        self.pitch_V, self.program_V = self.kind_V == PITCH, self.kind_V == PROGRAM
        self.onset_V, self.duration_V = self.kind_V == POSITION, self.kind_V == DURATION
        self.leaves_V = (self.kind_V == BAR) | (self.kind_V == EOS)
        self.class_V = np.where(self.pitch_V, self.value_V % 12, 0)
        self.family_V = np.where(self.program_V, self.value_V, 0)
        self.kind = np.full(batch, BOS)
        self.bar = np.full(batch, -1)
        self.position = np.full(batch, -1)
        self.family = np.full(batch, -1)
        self.pitch = np.full(batch, -1)
        self.used_BF = np.zeros((batch, len(FAMILIES)), dtype=bool)
        self.heard_BF = np.full((batch, len(FAMILIES)), -(2**30))
        """Bar in which each family last began a note."""
        self.recent_BC = np.zeros((batch, 12))
        """Grid positions that each canonical pitch class has sounded, fading as bars pass."""
        self.size_V = np.where(vocabulary.kind == METER, vocabulary.bar_sizes[vocabulary.value], 0)
        whole_V = vocabulary.whole_notes[vocabulary.value]
        self.reach_V = np.maximum(self.size_V, whole_V)
        self.fade_V = FADE ** (self.size_V / np.maximum(whole_V, 1))
        self.size = np.zeros(batch, dtype=np.int64)
        """Grid positions of the bar."""
        self.covered = np.zeros(batch, dtype=np.int64)
        """Position of the bar up to which something sounds."""
        self.onset_notes = np.zeros(batch, dtype=np.int64)
        self.phrase_onsets = np.zeros(batch, dtype=np.int64)
        self.phrase_notes = np.zeros(batch, dtype=np.int64)
        self.phrase_pitch = np.zeros(batch, dtype=np.int64)
        """Sum of pitch numbers."""
        self.bar_length = np.zeros(batch, dtype=np.int64)
        """Sum of note lengths, in grid positions."""
        self.bar_cover = np.zeros(batch, dtype=np.int64)
        """Grid positions in which anything sounds."""
        self.now = np.zeros(batch, dtype=np.int64)
        """Grid positions from the start of the piece to the latest onset or bar line."""
        self.began_BF = np.full((batch, len(FAMILIES)), -(2**30))
        """Where each family last began a note, on the same clock."""
        self.chord_BF = np.zeros((batch, len(FAMILIES)), dtype=np.int64)
        """How many it began there."""
        self.bar_start = np.zeros(batch, dtype=np.int64)
        self.bar_held = np.zeros(batch, dtype=np.int64)
        """Note time as it will be if each family holds its notes to its next, but for no more than
        a bar or a whole note."""
        self.reach = np.zeros(batch, dtype=np.int64)
        """Grid positions of the longer of these."""
        self.fade = np.ones(batch)
        self.bar_spell = np.zeros(batch, dtype=np.int64)
        """Grid positions in which anything sounds then."""
        self.bar_notes = np.zeros(batch, dtype=np.int64)
        self.bar_tokens = np.zeros(batch, dtype=np.int64)
        self.silent_bars = np.zeros(batch, dtype=np.int64)
        self.yielded = np.zeros(batch, dtype=np.int64)
        """Times that a rule would have left the stream no token. No wish counts."""

    def update(self, ids: Ints) -> None:
        """Take in one more token of every stream; one that is given PAD stays as it is."""
        kind, value = self.kind_V[ids], self.value_V[ids]
        new_bar, onset, program = kind == BAR, kind == POSITION, kind == PROGRAM
        empty = new_bar & (self.bar >= 0) & (self.bar_notes == 0)
        self.silent_bars = np.where(new_bar, np.where(empty, self.silent_bars + 1, 0),
                                    self.silent_bars)  # fmt: skip
        self.bar += new_bar
        self.bar_tokens = np.where(new_bar, 0, self.bar_tokens + (kind != PAD))
        self.bar_notes = np.where(new_bar, 0, self.bar_notes + (kind == PITCH))
        self.position = np.where(onset, value, np.where(new_bar, -1, self.position))
        self.used_BF &= ~(new_bar | onset)[:, None]
        self.family = np.where(program, value, np.where(new_bar, -1, self.family))
        self.pitch = np.where(kind == PITCH, value, self.pitch)
        self.pitch = np.where(new_bar | onset | program, -1, self.pitch)
        rows = np.flatnonzero(kind == PITCH)
        self.used_BF[rows, self.family[rows]] = True
        self.heard_BF[rows, self.family[rows]] = self.bar[rows]
        again = self.began_BF[rows, self.family[rows]] == self.now[rows]
        self.chord_BF[rows, self.family[rows]] *= again
        self.chord_BF[rows, self.family[rows]] += 1
        self.began_BF[rows, self.family[rows]] = self.now[rows]
        rows = np.flatnonzero(kind == DURATION)
        self.recent_BC[rows, self.pitch[rows] % 12] += value[rows]
        self.recent_BC[new_bar] *= self.fade[new_bar, None]
        self._account(ids, kind, value)
        self.kind = np.where(kind == PAD, self.kind, kind)

    def _hold(self, kind: Ints, value: Ints) -> None:
        """Go on to an onset or a bar line, with what is held until there."""
        begun = self.bar - (kind == BAR) >= 0  # `bar` is the new one already
        line = self.bar_start + np.where(begun, self.size, 0)
        then = np.where(kind == POSITION, self.bar_start + value, self.now)
        then = np.where(kind == BAR, line, then)
        self.bar_start = np.where(kind == BAR, line, self.bar_start)
        until_BF = np.minimum(then[:, None], self.began_BF + self.reach[:, None])
        held_BF = np.maximum(until_BF - self.now[:, None], 0)
        self.bar_held += (self.chord_BF * held_BF).sum(axis=1)
        self.bar_spell += held_BF.max(axis=1)
        self.now = then

    def held(self) -> Ints:
        """(B,): notes that sound at the latest onset if each family holds its own."""
        holds_BF = self.began_BF + self.reach[:, None] > self.now[:, None]
        count: Ints = (self.chord_BF * holds_BF).sum(axis=1)
        return count

    def _account(self, ids: Ints, kind: Ints, value: Ints) -> None:
        """The sums of the phrase and of the bar."""
        new_bar = kind == BAR
        self._hold(kind, value)
        same_phrase = ~(new_bar & (self.bar % PHRASE == 0))
        for sums in (self.phrase_onsets, self.phrase_notes, self.phrase_pitch):
            np.multiply(sums, same_phrase, out=sums)
        for sums in (self.bar_length, self.bar_cover, self.bar_held, self.bar_spell):
            np.multiply(sums, ~new_bar, out=sums)
        self.covered = np.where(new_bar, np.maximum(self.covered - self.size, 0), self.covered)
        self.size = np.where(kind == METER, self.size_V[ids], self.size)
        self.reach = np.where(kind == METER, self.reach_V[ids], self.reach)
        self.fade = np.where(kind == METER, self.fade_V[ids], self.fade)
        self.phrase_onsets += kind == POSITION
        self.onset_notes = np.where(new_bar | (kind == POSITION), 0, self.onset_notes)
        self.onset_notes += kind == PITCH
        self.phrase_notes += kind == PITCH
        self.phrase_pitch += np.where(kind == PITCH, value, 0)
        length = np.where(kind == DURATION, value, 0)
        self.bar_length += length
        self.bar_cover += self.newly_covered(length[:, None])[:, 0]
        ends = np.where(length > 0, self.position + length, 0)
        self.covered = np.maximum(self.covered, ends)

    def newly_covered(self, length_BX: Ints) -> Ints:
        """Grid positions that notes of these lengths at the onset add to what sounds."""
        position, covered = self.position[:, None], self.covered[:, None]
        added: Ints = np.maximum(position + length_BX - np.maximum(position, covered), 0)
        return added

    def copy(self, source: int, targets: Ints) -> None:
        """Streams of the numbers `targets` become what stream `source` is."""
        for name, values in vars(self).items():
            if not name.endswith("_V"):
                values[targets] = values[source]


class Rule(Protocol):
    """Forbids tokens."""

    def allowed(self, state: State) -> Flags:
        """(B, V), or broadcastable to it: True where a token may come next."""
        ...


NOTHING = np.zeros((1, 1), dtype=bool)


def narrowed(
    allowed_BV: Flags, held: Sequence[Rule], state: State, spared_BV: Flags = NOTHING
) -> Flags:
    """What is allowed and all rules allow, but for what they are to spare.

    A rule that would leave a stream nothing yields to those before it; `state.yielded` counts it.
    """
    for rule in held:
        kept_BV = allowed_BV & (rule.allowed(state) | spared_BV)
        some_B: Flags = np.asarray(kept_BV.any(axis=1))
        state.yielded += ~some_B
        allowed_BV = np.where(some_B[:, None], kept_BV, allowed_BV)
    return allowed_BV


class Grammar:
    """A decodable stream: tokens in order, time and pitch rising, no family twice at an onset."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        kinds = len(FOLLOWS)
        table = np.zeros((kinds, kinds), dtype=bool)
        for kind, following in FOLLOWS.items():
            table[kind, list(following)] = True
        self.follows_KV = table[:, vocabulary.kind]

    def allowed(self, state: State) -> Flags:
        value_V = state.value_V
        ok_BV = self.follows_KV[state.kind]
        ok_BV &= ~state.onset_V | (value_V > state.position[:, None])
        ok_BV &= ~state.pitch_V | ((value_V > state.pitch[:, None]) & (state.family >= 0)[:, None])
        stale_BV = state.used_BF[:, state.family_V]
        same_BV = value_V == state.family[:, None]
        return ok_BV & ~(state.program_V & (stale_BV | same_BV))


class AskedMeter:
    """The asked meter, which the network is told by this token alone: no condition holds it."""

    def __init__(self, vocabulary: Vocabulary, plans: Sequence[BarPlan]) -> None:
        meter_B1 = np.array([[vocabulary.meter(plan.bars.meters[0])] for plan in plans])
        self.ok_BV = (vocabulary.kind != METER) | (np.arange(len(vocabulary)) == meter_B1)

    def allowed(self, state: State) -> Flags:
        return self.ok_BV


class Frame:
    """The asked number of bars: every onset inside its bar and before the music ends, the end after
    the last bar."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.size = np.array([plan.bars.meters[0].numerator * GRID for plan in plans])
        self.last_size = np.array([positions_left(plan) for plan in plans])
        self.bars = np.array([len(plan) for plan in plans])

    def allowed(self, state: State) -> Flags:
        kind_V = state.kind_V
        more = (state.bar + 1 < self.bars)[:, None]
        size = np.where(more, self.size[:, None], self.last_size[:, None])
        ok_BV = ~state.onset_V | (state.value_V < size)
        return ok_BV & ((kind_V != BAR) | more) & ((kind_V != EOS) | ~more)


def positions_left(plan: BarPlan) -> int:
    """Positions of the last bar at which a note may still begin: half a beat before the end."""
    meter = plan.bars.meters[-1]
    quarters = min(plan.end_quarters - plan.bars.edges[-2], meter.quarters)
    positions = quarters / 4.0 * meter.denominator * GRID
    return int(np.ceil(positions - GRID / 2 if quarters < meter.quarters else positions))


class Fullness:
    """No more than `SILENT_BARS` empty bars in a row, none first or last, and no endless bar."""

    def __init__(self, bars: Sequence[int]) -> None:
        self.bars = np.array(bars)

    def allowed(self, state: State) -> Flags:
        edge = (state.bar == 0) | (state.bar == self.bars - 1) | (state.silent_bars >= SILENT_BARS)
        hold = (edge & (state.bar_notes == 0))[:, None]
        leave = (state.bar_tokens >= TOKENS_PER_BAR)[:, None] & (state.kind == DURATION)[:, None]
        return np.where(leave, state.leaves_V | (state.kind_V == PAD), ~(hold & state.leaves_V))


class Palette:
    """Only the families that the plan has playing in the bar sound."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.playing_BKF = playing_families(plans)

    def allowed(self, state: State) -> Flags:
        playing_BF = of_bar(self.playing_BKF, state.bar)
        return ~state.program_V | playing_BF[:, state.family_V]


class Register:
    """Pitches within about two octaves of the asked mean, and on the piano after transposing.

    At the peak of an arc there is an octave below the appoggiatura, whatever is asked.
    """

    REACH = 26

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        bars = max(len(plan) for plan in plans)
        self.low = np.full((len(plans), bars), 21)
        self.high = np.full((len(plans), bars), 108)
        for row, plan in enumerate(plans):
            asked = plan.targets["register"]
            low = np.where(np.isnan(asked), 0, asked - self.REACH)
            high = np.where(np.isnan(asked), 127, asked + self.REACH)
            if plan.climax is not None:
                below = plan.climax.pitch.min() - 12
                low[plan.climax.bar] = min(low[plan.climax.bar], below)
            on_piano = (21 - plan.transposition, 108 - plan.transposition)
            self.low[row, : len(plan)] = np.clip(low, *on_piano).astype(int)
            self.high[row, : len(plan)] = np.clip(high, *on_piano).astype(int)

    def allowed(self, state: State) -> Flags:
        low, high = (of_bar(edge, state.bar)[:, None] for edge in (self.low, self.high))
        return ~state.pitch_V | ((state.value_V >= low) & (state.value_V <= high))


class Ensemble:
    """Every family that is to play does, from the bar in which it enters.

    One that has begun no note in this bar and the one before begins the bar's next onset.
    """

    PATIENCE = 2

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.playing_BKF = playing_families(plans)

    def due(self, state: State) -> Flags:
        """(B, F): the families that are to begin a note."""
        silent_BF = state.bar[:, None] - state.heard_BF >= self.PATIENCE
        due_BF: Flags = of_bar(self.playing_BKF, state.bar) & silent_BF
        return due_BF

    def allowed(self, state: State) -> Flags:
        due_BF = self.due(state)
        held = (due_BF.any(axis=1) & (state.kind == POSITION))[:, None]
        enters_BV = due_BF[:, state.family_V] & state.program_V
        return ~held | enters_BV


def playing_families(plans: Sequence[BarPlan]) -> Flags:
    """(B, K, F): which families play in each bar of each plan; none past its end."""
    names, bars = list(FAMILIES), max(len(plan) for plan in plans)
    playing_BKF = np.zeros((len(plans), bars, len(names)), dtype=bool)
    for row, plan in enumerate(plans):
        mine = [names.index(family) for family in plan.families]
        playing_BKF[row][: len(plan), mine] = plan.playing
    return playing_BKF


def of_bar(values_BKX: NDArray[Any], bar_B: Ints) -> NDArray[Any]:
    """The row (B, X) of each stream's bar; of its first before, and of its last after the music."""
    bar = bar_B.clip(0, values_BKX.shape[1] - 1)
    return values_BKX[np.arange(len(bar)), bar]


TRIADS = {"major": (0, 4, 7), "minor": (9, 0, 4)}


class Scale:
    """No more notes outside the scale than asked, over the latest bars: each waits until half
    a beat of it is earned, and is no longer than what has been, or a beat.

    Where the chromaticism or the mode is open, every pitch may sound.
    """

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        share_BK, self.outside_BC = foreign_shares(plans)
        self.share_BK = np.nan_to_num(share_BK, nan=np.inf)

    def allowed(self, state: State) -> Flags:
        outside = (state.recent_BC * self.outside_BC).sum(axis=1)
        total = state.recent_BC.sum(axis=1)
        share = of_bar(self.share_BK, state.bar)
        earned = outside + GRID / 2 <= share * (total + GRID)
        foreign_BV = self.outside_BC[:, state.class_V] & state.pitch_V
        sounds_foreign = self.outside_BC[np.arange(len(earned)), state.pitch % 12]
        length_V = np.where(state.duration_V, state.value_V, GRID)
        longer_BV = outside[:, None] + length_V > share[:, None] * (total[:, None] + length_V)
        overdrawn_BV = sounds_foreign[:, None] & (length_V > GRID) & longer_BV
        return ~(foreign_BV & ~earned[:, None] | overdrawn_BV)


def foreign_shares(plans: Sequence[BarPlan]) -> tuple[NDArray[np.float64], Flags]:
    """(B, K): the asked share of note time outside the scale, NaN where it or the mode is open, and
    (B, 12): the pitch classes outside."""
    share_BK = np.full((len(plans), max(len(plan) for plan in plans)), np.nan)
    outside_BC = np.zeros((len(plans), 12), dtype=bool)
    for row, plan in enumerate(plans):
        if plan.mode is not None:
            share_BK[row, : len(plan)] = plan.targets["chromaticism"]
            outside_BC[row] = ~SCALES[plan.mode]
    return share_BK, outside_BC


class Cadence:
    """The last bar of a piece is made of the tonic triad, where the mode is asked."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.last = np.array([len(plan) - plan.closes for plan in plans])
        self.triad_BC = np.ones((len(plans), 12), dtype=bool)
        for row, plan in enumerate(plans):
            if plan.mode is not None:
                self.triad_BC[row] = np.isin(np.arange(12), TRIADS[plan.mode])

    def allowed(self, state: State) -> Flags:
        triad_BV = self.triad_BC[:, state.class_V]
        return ~state.pitch_V | triad_BV | (state.bar < self.last)[:, None]


def raw_rules_for(plans: Sequence[BarPlan], vocabulary: Vocabulary) -> list[Rule]:
    """What binds a raw stream too, `Grammar` first: what a stream is, and the meter it is told."""
    return [Grammar(vocabulary), AskedMeter(vocabulary, plans)]


def rules_for(plans: Sequence[BarPlan], vocabulary: Vocabulary) -> list[Rule]:
    """Every rule that a prescription's plans call for, those of a raw stream first."""
    return [
        *raw_rules_for(plans, vocabulary),
        Frame(plans),
        Fullness([len(plan) for plan in plans]),
        Palette(plans),
        Register(plans),
        Ensemble(plans),
        Scale(plans),
        Cadence(plans),
    ]
