"""Wishes: what keeps density, polyphony, register and key near what is asked, phrase by phrase.

A wish is a rule that yields: where it would leave a stream no token, the stream does as if it were
not there. Each one compares a running sum (of the phrase; note time, of the bar) with what is asked
up to here and keeps the difference within a slack of less than a bar, so that the network goes on
deciding where within the bar things happen, and the mean comes out near.

Shapes: B streams, V vocabulary, K bars.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml.canonical import GRID
from sonicrx_ml.keys import HOME_KEYS, PROFILES, correlate
from sonicrx_ml.plan import PHRASE, BarPlan, voices
from sonicrx_ml.rules import Flags, Rule, State, foreign_shares, of_bar, positions_left
from sonicrx_ml.tokens import DURATION

Floats = NDArray[np.float64]

LEAD = 0.35  # bars by which onsets may be ahead of what is asked, or behind
BULK = 0.15  # and by which note time may be
VOICES = 1.0  # notes that may be held at once beyond the asked polyphony, or lack
NEAR = 2.0  # semitones that the mean pitch of a phrase may be off in the end
REACH = 20.0  # and this much more for its first note, less with every further one

_KEY = dict(zip(("major", "minor"), HOME_KEYS, strict=True))  # of the 24, as music is composed
CLEAR = 0.08  # correlation by which the asked key is to be likelier than any other
CHORD = 2  # notes that one onset may have beyond the asked polyphony
OPEN_CHORD = 6  # and beyond this where the polyphony is open


class Crowd:
    """No onset has many more notes than asked: what lacks elsewhere is not piled up on one."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        asked_BK = voices(_laid(plans, "polyphony"), _laid(plans, "articulation"))
        self.most_BK = np.nan_to_num(np.ceil(asked_BK), nan=OPEN_CHORD) + CHORD

    def allowed(self, state: State) -> Flags:
        full = state.onset_notes >= of_bar(self.most_BK, state.bar)
        decides = (full & (state.kind == DURATION))[:, None]
        return ~(decides & (state.pitch_V | state.program_V))


class Pace:
    """Onsets keep step with the asked density."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        felt = np.array([p.bars.meters[0].quarters / p.bars.meters[0].felt_beat for p in plans])
        self.size = np.array([plan.bars.meters[0].numerator * GRID for plan in plans])
        self.onsets_BK = np.minimum(_laid(plans, "density") * felt[:, None], self.size[:, None])
        self.before_BK = np.stack([_sums_of_phrases(onsets) for onsets in self.onsets_BK])
        self.last = np.array([len(plan) - 1 for plan in plans])
        self.last_size = np.array([positions_left(plan) for plan in plans])

    def allowed(self, state: State) -> Flags:
        onsets = of_bar(self.onsets_BK, state.bar)[:, None]
        end = np.where(state.bar == self.last, self.last_size, self.size)[:, None]
        place_BV = np.where(state.leaves_V, end, state.value_V) / self.size[:, None]
        due_BV = of_bar(self.before_BK, state.bar)[:, None] + onsets * place_BV
        count, slack = state.phrase_onsets[:, None], np.maximum(1.0, LEAD * onsets)
        soon_BV = state.onset_V & (count + 1 > due_BV + slack)
        late_BV = (state.onset_V | state.leaves_V) & (due_BV > count + slack)
        return ~(soon_BV | late_BV) | np.isnan(onsets)


class Voices:
    """The time of all notes is the asked polyphony times the time in which anything sounds.

    Where an articulation is asked too, performance sets the lengths: there the notes that would
    sound if each family held its own to its next are counted (see `plan.voices`). Elsewhere the
    composed lengths are.
    """

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.written, self.held = _Written(plans), _Held(plans)

    def allowed(self, state: State) -> Flags:
        return self.written.allowed(state) & self.held.allowed(state)


class _Written:
    def __init__(self, plans: Sequence[BarPlan]) -> None:
        open_BK = np.isnan(_laid(plans, "articulation"))
        self.asked_BK = np.where(open_BK, _laid(plans, "polyphony"), np.nan)

    def allowed(self, state: State) -> Flags:
        asked = of_bar(self.asked_BK, state.bar)[:, None]
        slack = BULK * asked * state.size[:, None]
        ahead = state.bar_length[:, None] - asked * state.bar_cover[:, None]
        stays_BV = _adds(state, ahead > slack, ahead < -slack)
        then_BV = np.abs(ahead + state.value_V - asked * state.newly_covered(state.value_V[None]))
        nearest = then_BV[:, state.duration_V].min(axis=1, keepdims=True)
        near_BV = then_BV <= np.maximum(nearest, np.maximum(slack, np.abs(ahead)))
        return (stays_BV & (~state.duration_V | near_BV)) | np.isnan(asked)


class _Held:
    def __init__(self, plans: Sequence[BarPlan]) -> None:
        shares_BK = _laid(plans, "articulation")
        asked_BK = voices(_laid(plans, "polyphony"), shares_BK)
        self.asked_BK = np.where(np.isnan(shares_BK), np.nan, asked_BK)
        felt = np.array([[plan.bars.meters[0].felt_beat for plan in plans]]).T
        denominators = np.array([[plan.bars.meters[0].denominator for plan in plans]]).T
        beats_BK = np.nan_to_num(_laid(plans, "density"), nan=1.0)
        self.step_BK = np.minimum(felt * denominators / 4 / beats_BK, 2.0) * GRID
        """Grid positions from an onset to the next."""

    def allowed(self, state: State) -> Flags:
        asked = of_bar(self.asked_BK, state.bar)[:, None]
        step = of_bar(self.step_BK, state.bar)[:, None]
        slack = np.maximum(BULK * asked * state.size[:, None], step)
        ahead = state.bar_held[:, None] - asked * state.bar_spell[:, None]
        over = state.held()[:, None] - asked
        then = ahead + over * step
        thick = (then + step > slack) | (over + 1 > VOICES)
        thin = ((then < -slack) | (over < -VOICES)) & ~thick
        return _adds(state, thick, thin) | np.isnan(asked)


def _adds(state: State, thick: Flags, thin: Flags) -> Flags:
    """An onset gets another note where it is `thin`, and none where it is `thick`."""
    adds_V, goes_on_V = state.pitch_V | state.program_V, state.onset_V | state.leaves_V
    decides = (state.kind == DURATION)[:, None]
    return ~decides | ~((adds_V & thick) | (goes_on_V & thin))


class Height:
    """The mean pitch of a phrase ends near the asked register."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.asked_BK = _laid(plans, "register")

    def allowed(self, state: State) -> Flags:
        asked = of_bar(self.asked_BK, state.bar)[:, None]
        count = state.phrase_notes[:, None]
        total = state.phrase_pitch[:, None] - asked * count
        off_BV = np.abs(total + state.value_V - asked) / (count + 1)
        now = np.abs(total) / np.maximum(count, 1)
        near_BV = off_BV <= np.maximum(NEAR + REACH / (count + 1), now)
        return ~state.pitch_V | near_BV | np.isnan(asked)


class Home:
    """The asked key stays the likeliest of all 24 over the latest bars, by a clear margin.

    While another is nearer than that, only pitches sound that speak more for the asked one.
    """

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.key = np.array([_KEY.get(plan.mode or "", 0) for plan in plans])
        self.told = np.array([plan.mode is not None for plan in plans])

    def allowed(self, state: State) -> Flags:
        scores_BK = correlate(state.recent_BC)
        rows = np.arange(len(scores_BK))
        mine = scores_BK[rows, self.key]
        scores_BK[rows, self.key] = -np.inf
        rival = scores_BK.argmax(axis=1)
        near = (mine < scores_BK[rows, rival] + CLEAR) & self.told
        better_BC = PROFILES[self.key] > PROFILES[rival]
        return ~(near[:, None] & state.pitch_V & ~better_BC[:, state.class_V])


class Colour:
    """Notes outside the scale come where their asked share is half a beat behind."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.share_BK, self.outside_BC = foreign_shares(plans)

    def allowed(self, state: State) -> Flags:
        outside = (state.recent_BC * self.outside_BC).sum(axis=1)
        due = of_bar(self.share_BK, state.bar) * state.recent_BC.sum(axis=1)
        behind = (due > outside + GRID / 2)[:, None]
        return ~(behind & state.pitch_V & ~self.outside_BC[:, state.class_V])


def wishes_for(plans: Sequence[BarPlan]) -> list[Rule]:
    """The most urgent first."""
    return [Crowd(plans), Pace(plans), Voices(plans), Height(plans), Colour(plans), Home(plans)]


def _laid(plans: Sequence[BarPlan], name: str) -> Floats:
    """(B, K): a target of each plan's bars; NaN where open and past its end."""
    laid_BK = np.full((len(plans), max(len(plan) for plan in plans)), np.nan)
    for row, plan in zip(laid_BK, plans, strict=True):
        row[: len(plan)] = plan.targets[name]
    return laid_BK


def _sums_of_phrases(values_K: Floats) -> Floats:
    """What the bars of the same phrase before each bar add up to."""
    padded = np.pad(values_K, (0, -len(values_K) % PHRASE)).reshape(-1, PHRASE)
    before = np.cumsum(padded, axis=1) - padded
    return before.reshape(-1)[: len(values_K)]
