"""Performance: composed notes become played ones.

Scores carry no true dynamics, so velocities are written here, from the asked energy, the metre and
the phrase; note lengths from the asked articulation; and the piece is ended exactly where the plan
ends. Everything is a function of the notes and the plan: no randomness.

Loudness follows the 40 log10(velocity / 64) law of GM synthesizers, in dB.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import emotion
from sonicrx_ml.attributes import (
    REFERENCE_VELOCITY,
    SIMULTANEOUS,
    gap_to_next,
    legato_ratio,
    measure,
    polyphony,
)
from sonicrx_ml.keys import moving_sum
from sonicrx_ml.notes import Bars, Floats, Ints, Notes, until_struck_again
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import BarPlan

Flags = NDArray[np.bool_]

PHRASE_BARS = 4
ARCH_DB = 2.0  # swell from the edge of a phrase to its middle
STRESS_DB = {0: 1.2, 1: 0.4, 2: -0.6}  # bar line, felt beat, between beats
MELODY_DB = 1.5  # the top voice over the rest
LOUDNESS_LIMITS = (-16.0, 11.0)  # dB: velocities 25 to 120
SHORTEST = 1 / 8  # quarters
SPREADS = np.linspace(-1.0, 1.0, 17)  # of note lengths: one held most, to all alike or all held
SPREAD_COST = 0.05  # notes of polyphony that a bar may be off for its lengths to stay as composed
LET_GO = 0.4  # share of a note's length
LEAST_CUT = 0.8  # share of their length that notes may lose to one that is held
LAST_CHANCE = 1 / 16  # quarters


def perform(notes: Notes, plan: BarPlan) -> Notes:
    """Played notes: in the asked key, on the asked programs and tempo, with dynamics and an end.

    notes : canonical (C major or A minor, families on their representative programs), on full bars.
    """
    bars = plan.bars
    played = replace(notes, tempo=plan.tempo, meters=bars.meters[:1])
    played = _on_programs(played.transpose(plan.transposition), plan)
    targets, voices = plan.targets, plan.targets["polyphony"]
    if plan.climax is not None:  # its chord is held until it resolves, and nothing else into it
        near = np.isin(np.arange(len(bars)), (plan.climax.bar - 1, plan.climax.bar))
        voices = np.where(near, np.nan, voices)
    derived = "articulation" in plan.derived
    played = articulate(played, bars, targets["articulation"], voices, gives_way=derived)
    played = release_restruck(played)
    played = end_at(played, bars, plan.end_quarters, closes=plan.closes)
    loudness = completing_loudness(played, plan)
    breath = plan.breath
    swell = (
        None if breath is None else breath.level(plan.before_s + plan.tempo.seconds(played.onset))
    )
    return replace(played, velocity=velocities(played, bars, loudness, swell)).sort()


def completing_loudness(notes: Notes, plan: BarPlan) -> Floats:
    """Loudness of each bar (dB) that completes the asked energy, given the composed notes.

    What notes lack or exceed in energy over a phrase is made up for by dynamics, within the range
    the energy model is valid for; where energy is open, the plan's loudness stays.
    """
    bars = plan.bars
    composed = measure(notes, bars, mode=plan.mode or "major")["energy"]
    missing = plan.targets["energy"] - composed
    told = np.isfinite(missing)
    sums = moving_sum(np.column_stack([np.where(told, missing, 0.0), told]), PHRASE_BARS)
    phrase = sums[:, 0] / np.maximum(sums[:, 1], 1.0)
    per_db = emotion.energy(1.0, 1.0, 1.0, 65.0) - emotion.energy(1.0, 0.0, 1.0, 65.0)
    return np.clip(plan.loudness_db + phrase / per_db, *emotion.LOUDNESS_RANGE)


def _on_programs(notes: Notes, plan: BarPlan) -> Notes:
    """Representative programs of the families become the palette's programs."""
    table = np.arange(129)
    for family, program in plan.programs.items():
        table[FAMILIES[family]] = program
    return replace(notes, program=table[notes.program])


def articulate(
    notes: Notes,
    bars: Bars,
    asked: Floats,
    voices: Floats | None = None,
    *,
    gives_way: bool = False,
) -> Notes:
    """Scale note lengths bar by bar towards the asked mean legato ratio.

    A note that should be longer reaches at most the next onset of its instrument, and is no longer
    than a bar or a whole note. asked : (bars,), NaN where open: without `voices` such a bar is left
    alone, and so is the last note of an instrument. voices : (bars,), polyphony asked of each, in
    notes, NaN where open. The same mean ratio leaves room for it: one note of each onset is held
    and the others are let go, or all are alike. Where no ratio is asked, or it `gives_way`, lengths
    go further: to hardly more than one note that sounds, or to all held for a bar or a whole note.
    """
    gap, bar = gap_to_next(notes), bars.index(notes.onset)
    whole = np.maximum(np.diff(bars.edges)[bar], 4.0)
    near = gap <= whole + 1e-6
    before_rest = np.where(near | np.isinf(gap), 0.0, np.nan_to_num(asked)[bar] * whole)
    notes = replace(notes, duration=np.maximum(notes.duration, before_rest))
    ratio, longest = legato_ratio(notes), _longest(notes)
    target, mean = _ratios(ratio, near, np.isfinite(gap) & ~near, bar, asked)
    room = until_struck_again(notes.onset, notes.pitch, notes.program)
    open_ = np.isnan(asked)[bar]

    def told(spread: Floats) -> Floats:
        shares = _spread(target, mean, longest, near, bar, spread)
        held = (ratio >= 1.0) & (shares >= 1.0)  # already overlapping: keep its full length
        longer = np.maximum(np.where(near, shares * np.where(near, gap, 0.0), 0.0), SHORTEST)
        return np.minimum(np.where(near & ~held & ~open_, longer, notes.duration), room)

    plain = replace(notes, duration=told(np.zeros(len(bars))))
    thin, thick = _one_held(plain, room), np.maximum(plain.duration, np.minimum(room, whole))

    def lengths(spread: Floats) -> Floats:
        far, share = np.where(spread[bar] < 0.0, thin, thick), np.square(spread[bar])
        freely = plain.duration + share * (far - plain.duration)
        return np.where(open_ | gives_way, freely, told(spread))

    if voices is None:
        return plain

    def heard(spread: Floats) -> Floats:
        return polyphony(replace(notes, duration=lengths(spread)), bars)

    return replace(notes, duration=lengths(_nearest(heard, voices)))


def _nearest(heard: Callable[[Floats], Floats], wanted: Floats) -> Floats:
    """The spread of each bar with which what is heard comes nearest to what is wanted (NaN: 0).

    What is held over a bar line is heard in the next bar, so its error counts too, and spreads are
    chosen for every other bar in turn.
    """
    spread, even = np.zeros(len(wanted)), np.arange(len(wanted)) % 2 == 0
    for turn in (~even, even) * 2:
        here = turn & np.isfinite(wanted)
        if here.any():
            tried = np.stack([heard(np.where(here, step, spread)) for step in SPREADS])
            off = np.pad(np.nan_to_num(np.abs(tried - wanted)), ((0, 0), (0, 1)))
            cost = off[:, :-1] + off[:, 1:] + SPREAD_COST * np.abs(SPREADS)[:, None]
            spread[here] = SPREADS[cost[:, here].argmin(axis=0)]
    return spread


def _one_held(notes: Notes, room: Floats) -> Floats:
    """Lengths with which hardly more than one note sounds: of what begins together the longest is
    held to the next onset of any instrument, and the others are let go after `LET_GO` of theirs."""
    onsets = np.unique(notes.onset)
    index = np.searchsorted(onsets, notes.onset + SIMULTANEOUS, side="right")
    gap = np.append(onsets, np.inf)[index] - notes.onset
    until = np.minimum(np.where(np.isinf(gap), notes.duration, gap), room)
    short = np.maximum(LET_GO * np.minimum(notes.duration, until), SHORTEST)
    return np.where(_longest(notes), until, np.minimum(notes.duration, short))


def _ratios(
    ratio: Floats, near: Flags, far: Flags, bar: Ints, asked: Floats
) -> tuple[Floats, Floats]:
    """Legato ratio that each of the `near` notes is to have, and their mean in each bar; what is
    before a rest (`far`) keeps its own, and counts."""

    def total(values: Floats | Flags) -> Floats:
        return np.bincount(bar, values, minlength=len(asked)).astype(float)

    count = np.maximum(total(near), 1)
    have = total(ratio * near) / count
    wanted = np.clip((asked * total(near | far) - total(ratio * far)) / count, 0.0, 1.0)
    wanted = np.where(np.isnan(asked), have, wanted)
    shorter = ratio * (wanted / np.maximum(have, 1e-6))[bar]
    longer = 1.0 - (1.0 - ratio) * ((1.0 - wanted) / np.maximum(1.0 - have, 1e-6))[bar]
    return np.clip(np.where((wanted <= have)[bar], shorter, longer), 0.0, 1.0), wanted


def _longest(notes: Notes) -> Flags:
    """The note of each onset that was composed longest; of several the highest."""
    order = np.lexsort((-notes.pitch, -notes.duration, notes.onset))
    first = np.diff(notes.onset[order], prepend=-np.inf) > SIMULTANEOUS
    found = np.zeros(len(notes), dtype=bool)
    found[order[first]] = True
    return found


def _spread(
    target: Floats, mean: Floats, longest: Flags, near: Flags, bar: Ints, spread: Floats
) -> Floats:
    """The ratios further apart (`spread` of the bar above 0, 1 at most) or nearer to one another,
    with the same mean: where apart, the longest note of each onset comes nearer to 1."""

    def total(values: Floats) -> Floats:
        return np.bincount(bar, values * near, minlength=len(mean)).astype(float)

    gain, rest = total((1.0 - target) * longest), total(target * ~longest)
    apart = np.minimum(np.maximum(spread, 0.0), LEAST_CUT * rest / np.maximum(gain, 1e-9))
    cut = 1.0 - apart * gain / np.maximum(rest, 1e-9)
    far = np.where(longest, target + apart[bar] * (1.0 - target), target * cut[bar])
    alike = np.maximum(-spread, 0.0)[bar]
    return far + alike * (mean[bar] - target)


def release_restruck(notes: Notes) -> Notes:
    """A note ends where its key is struck again: one key of an instrument sounds once at a time."""
    room = until_struck_again(notes.onset, notes.pitch, notes.program)
    return replace(notes, duration=np.minimum(notes.duration, room))


def end_at(notes: Notes, bars: Bars, end: float, *, closes: bool = True) -> Notes:
    """Nothing sounds after `end` (quarters), and what sounds last is held to it, exactly.

    What would begin less than `LAST_CHANCE` before the end is left out. Where the piece `closes`,
    what is held begins in its last bar.
    """
    notes = notes.select(notes.onset <= end - LAST_CHANCE)
    release = np.minimum(notes.release, end)
    last_bar = closes & (notes.onset >= bars.edges[-2] - 1e-6)
    final = np.where(last_bar, release, -1.0) if last_bar.any() else release
    release = np.where(final >= final.max(initial=0.0) - 1e-6, end, release)
    return replace(notes, duration=release - notes.onset)


def velocities(notes: Notes, bars: Bars, loudness_db: Floats, swell: Floats | None = None) -> Ints:
    """MIDI velocities 1-127 whose bar means follow `loudness_db` (dB re velocity 64).

    The shape within a bar (metre, top voice) is centred, so that it does not shift the mean; the
    arch of the phrase is centred over its bars. Where loudness breathes, `swell` (dB at each note)
    takes the place of the arch: a breath is the phrase.
    """
    bar = bars.index(notes.onset)
    shape = _stress(notes, bars, bar) + _melody(notes)
    count = np.maximum(np.bincount(bar, minlength=len(bars)), 1)
    shape -= (np.bincount(bar, shape, minlength=len(bars)) / count)[bar]
    arch = _arch(len(bars))[bar] if swell is None else swell
    level = np.clip(loudness_db[bar] + arch + shape, *LOUDNESS_LIMITS)
    return np.clip(np.rint(REFERENCE_VELOCITY * 10.0 ** (level / 40.0)), 1, 127).astype(np.int64)


def _stress(notes: Notes, bars: Bars, bar: Ints) -> Floats:
    felt = np.array([meter.felt_beat for meter in bars.meters])[bar]
    beats = (notes.onset - bars.edges[bar]) / felt
    on_beat = np.abs(beats - np.rint(beats)) < 1e-6
    rank = np.where(beats < 1e-6, 0, np.where(on_beat, 1, 2))
    return np.array([STRESS_DB[0], STRESS_DB[1], STRESS_DB[2]])[rank]


def _melody(notes: Notes) -> Floats:
    """The highest note of each onset."""
    _, onset = np.unique(notes.onset, return_inverse=True)
    top = np.zeros(onset.max(initial=0) + 1)
    np.maximum.at(top, onset, notes.pitch)
    return np.where(notes.pitch >= top[onset], MELODY_DB, 0.0)


def _arch(n_bars: int) -> Floats:
    """A half sine over each phrase, mean 0 over whole phrases."""
    place = (np.arange(n_bars) % PHRASE_BARS + 0.5) / PHRASE_BARS
    arch = np.sin(np.pi * place)
    whole = np.sin(np.pi * (np.arange(PHRASE_BARS) + 0.5) / PHRASE_BARS).mean()
    return ARCH_DB * (arch - whole)
