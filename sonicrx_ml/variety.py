"""How much the tracks of a course are alike: what they share beside their anchor.

As in `novelty`, tracks are alike where runs of notes in one have the same intervals and the same
proportions of time in another, whatever the key and the tempo. The bars of the anchor are left out
of the leading instrument, since there all tracks are meant to be alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sonicrx_ml import novelty, style
from sonicrx_ml.notes import Notes
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import OPEN_INSTRUMENTS, Prescription


@dataclass(frozen=True, slots=True)
class Alike:
    """The two tracks that are most alike, by the numbers they were given under."""

    first: int
    second: int
    share: float
    """Of the runs of `novelty.GRAM` notes in either that the other has too."""
    longest: int
    """Notes of the longest run that any two tracks have in common."""


def without_anchor(prescription: Prescription, notes: Notes) -> Notes:
    """The notes less what the leading instrument plays while the anchor is asked for."""
    places = plan(prescription).anchors
    lead = PALETTE[(prescription.instruments or OPEN_INSTRUMENTS)[0]][0]
    kept = np.ones(len(notes), dtype=bool)
    for place in places:
        end = place.onset[-1] + place.length[-1]
        inside = (notes.onset > place.onset[0] - 0.25) & (notes.onset < end)
        kept &= ~(inside & (notes.program == lead))
    return notes.select(kept)


def most_alike(tracks: Mapping[int, tuple[Prescription, Notes]]) -> Alike | None:
    """Of all pairs of numbered tracks; None for fewer than two with notes beside the anchor."""
    bare = {number: without_anchor(*track) for number, track in tracks.items()}
    grids = [(number, style.standard(notes)) for number, notes in bare.items() if len(notes)]
    indexed = {at: novelty.build([(str(at), grid)]) for at, grid in grids}
    pairs = []
    for (first, one), (second, other) in itertools.combinations(grids, 2):
        both = novelty.shared(one, indexed[second]), novelty.shared(other, indexed[first])
        share = max(float(np.nan_to_num(found.share)) for found in both)
        pairs.append(Alike(first, second, share, max(found.longest for found in both)))
    if not pairs:
        return None
    worst = max(pairs, key=lambda pair: (pair.share, pair.longest))
    return Alike(worst.first, worst.second, worst.share, max(pair.longest for pair in pairs))
