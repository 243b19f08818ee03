"""Performance: composed notes become played ones.

Scores carry no true dynamics, so velocities are written here, from the asked energy, the metre and
the phrase; note lengths from the asked articulation; and the piece is ended exactly where the plan
ends. Everything is a function of the notes and the plan: no randomness.

Loudness follows the 40 log10(velocity / 64) law of GM synthesizers, in dB.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sonicrx_ml import emotion
from sonicrx_ml.attributes import REFERENCE_VELOCITY, gap_to_next, legato_ratio, measure
from sonicrx_ml.keys import moving_sum
from sonicrx_ml.notes import Bars, Floats, Ints, Notes, until_struck_again
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import BarPlan

PHRASE_BARS = 4
ARCH_DB = 2.0  # swell from the edge of a phrase to its middle
STRESS_DB = {0: 1.2, 1: 0.4, 2: -0.6}  # bar line, felt beat, between beats
MELODY_DB = 1.5  # the top voice over the rest
LOUDNESS_LIMITS = (-16.0, 11.0)  # dB: velocities 25 to 120
SHORTEST = 1 / 8  # quarters
LAST_CHANCE = 1 / 16  # quarters


def perform(notes: Notes, plan: BarPlan) -> Notes:
    """Played notes: in the asked key, on the asked programs and tempo, with dynamics and an end.

    notes : canonical (C major or A minor, families on their representative programs), on full bars.
    """
    bars = plan.bars
    played = replace(notes, tempo=plan.tempo, meters=bars.meters[:1])
    played = _on_programs(played.transpose(plan.transposition), plan)
    played = release_restruck(articulate(played, bars, plan.targets["articulation"]))
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


def articulate(notes: Notes, bars: Bars, asked: Floats) -> Notes:
    """Scale note lengths bar by bar towards the asked mean legato ratio; NaN leaves a bar alone.

    A note that should be longer reaches at most the next onset of its instrument; the last onset of
    an instrument, which has none to reach, is left alone.
    """
    bar = bars.index(notes.onset)
    ratio, gap = legato_ratio(notes), gap_to_next(notes)
    followed = np.isfinite(gap)
    count = np.bincount(bar, followed, minlength=len(bars))
    mean = np.bincount(bar, ratio * followed, minlength=len(bars)) / np.maximum(count, 1)
    wanted = np.where(np.isnan(asked), mean, asked)[bar]
    have = np.maximum(mean[bar], 1e-6)
    shorter = ratio * wanted / have
    longer = 1.0 - (1.0 - ratio) * (1.0 - wanted) / np.maximum(1.0 - have, 1e-6)
    target = np.clip(np.where(wanted <= have, shorter, longer), 0.0, 1.0)
    gap = np.where(followed & ~np.isnan(asked)[bar], gap, np.nan)
    length = np.where(np.isnan(gap), notes.duration, target * gap)
    held = (ratio >= 1.0) & (target >= 1.0)  # already overlapping: keep its full length
    return replace(notes, duration=np.where(held, notes.duration, np.maximum(length, SHORTEST)))


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
