"""Re-orchestration: the same notes on other timbre families.

The corpus has few harps, pads and bells, and few ensembles but the usual ones. So in training a
piece may sound on other instruments: `rename` gives families a stand-in of the like range,
`divide` shares the notes of one family out by role, as an arranger would a piano part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sonicrx_ml.canonical import Gridded
from sonicrx_ml.notes import Ints
from sonicrx_ml.palette import FAMILIES

# What may stand in for a family.
SUBSTITUTES: Mapping[str, tuple[str, ...]] = {
    "piano": ("harp", "guitar", "bells", "pad", "organ"),
    "organ": ("pad", "strings", "voice"),
    "guitar": ("harp", "piano", "bells"),
    "strings": ("pad", "voice", "organ", "reed"),
    "voice": ("flute", "strings", "reed", "pad"),
    "brass": ("reed", "strings", "organ"),
    "reed": ("flute", "strings", "voice"),
    "flute": ("reed", "bells", "strings"),
}
# What may take each role of a divided family, in the order of `roles`.
ROLES: Mapping[str, tuple[str, ...]] = {
    "bass": ("bass", "strings", "harp", "guitar", "piano", "organ", "pad"),
    "inner": ("harp", "guitar", "pad", "strings", "piano", "voice", "organ", "bells"),
    "melody": ("flute", "reed", "voice", "strings", "bells", "harp", "guitar", "piano"),
}
STAYS = 0.4  # chance that a role stays with the family that had it
CHORDAL = 0.25  # share of notes struck above another, from which a family has roles to divide

_NAMES = list(FAMILIES)


def rename(grid: Gridded, rng: np.random.Generator) -> Gridded:
    """Every family that has a free stand-in is played by it."""
    table = np.arange(len(FAMILIES))
    sounding = set(np.unique(grid.family).tolist())
    for family in sorted(sounding):
        chosen = _draw(SUBSTITUTES.get(_NAMES[family], ()), sounding, rng)
        table[family] = family if chosen is None else chosen
    return _on(grid, table[grid.family])


def divide(grid: Gridded, rng: np.random.Generator) -> Gridded:
    """Bass, inner voices and melody of the fullest family each stay or go to another.

    A family that plays a single line is left whole.
    """
    fullest = int(np.bincount(grid.family).argmax())
    mine = np.flatnonzero(grid.family == fullest)
    struck_together = np.diff(_onsets(grid)[mine]) == 0
    if struck_together.sum() < CHORDAL * len(mine):
        return grid
    role, family = roles(grid, mine), grid.family.copy()
    sounding = set(np.unique(family).tolist())
    for number, candidates in enumerate(ROLES.values()):
        chosen = None if rng.random() < STAYS else _draw(candidates, sounding, rng)
        if chosen is not None:
            family[mine[role == number]] = chosen
    return _on(grid, family)


def roles(grid: Gridded, mine: Ints) -> Ints:
    """0 bass, 1 inner, 2 melody for each of the notes `mine` of one family.

    Bass is the lower of two clusters of pitches; melody the top of each onset above it.
    """
    onset, pitch = _onsets(grid)[mine], grid.pitch[mine]
    split = pitch.mean()
    for _ in range(4):  # 2-means in one dimension
        low, high = pitch[pitch <= split], pitch[pitch > split]
        split = (low.mean() + high.mean()) / 2 if len(high) else split
    top = np.append(np.diff(onset) > 0, True)
    return np.where(pitch <= split, 0, np.where(top, 2, 1))


def _onsets(grid: Gridded) -> Ints:
    """A number that rises with every onset, for each note."""
    return grid.bar * (int(grid.position.max(initial=0)) + 1) + grid.position


def _draw(candidates: Sequence[str], sounding: set[int], rng: np.random.Generator) -> int | None:
    """A family that does not sound yet, and from now on does; None where there is none."""
    free = [index for index in map(_NAMES.index, candidates) if index not in sounding]
    if not free:
        return None
    chosen = int(rng.choice(free))
    sounding.add(chosen)
    return chosen


def _on(grid: Gridded, family: Ints) -> Gridded:
    """The notes on these families, in order again."""
    order = np.lexsort((grid.pitch, family, grid.position, grid.bar))
    columns = {
        name: getattr(grid, name)[order]
        for name in ("bar", "position", "length", "pitch", "velocity")
    }
    return replace(grid, family=family[order], **columns)
