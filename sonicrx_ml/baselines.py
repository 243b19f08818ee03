"""What a composer is held against: music that was not composed to the prescription.

Each baseline is a `suite.Column`. A real piece or an etude is *laid under* the plan: its
bars, from the first and over again where it is too short, take the place of the composer's. Then
it is performed as ours is (tempo, key, instruments, dynamics, articulation, end), so that they
differ from the composer in the notes alone.

Where a baseline's piece has another meter than was asked, what overhangs a bar is left out.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from sonicrx_ml import canonical, etudes, forms, keys
from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import compose
from sonicrx_ml.conformance import judge
from sonicrx_ml.dataset import load_labels, load_split
from sonicrx_ml.expression import perform
from sonicrx_ml.notes import Floats, Ints, write_midi
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.suite import Column, Made
from sonicrx_ml.tokens import METER, Vocabulary, decode

#: Attributes by which the nearest piece is found, where they are asked.
NEAR = ("tempo", "mode", "density", "polyphony", "register", "chromaticism")


def column(name: str, bundle: Bundle, prepared: Path, split: str) -> Column:
    """The baseline of that name: free, etudes or retrieved."""
    if name == "free":
        return free_column(bundle, SamplingConfig())
    return etude_column() if name == "etudes" else retrieved_column(prepared, split)


def free_column(bundle: Bundle, sampling: SamplingConfig) -> Column:
    """The composer told nothing but how long, and judged by what it was not told."""

    def make(prescriptions: Sequence[Prescription]) -> list[Made]:
        untold = [
            Prescription(duration_s=p.duration_s, final_silence_s=p.final_silence_s, seed=p.seed)
            for p in prescriptions
        ]
        found = compose(untold, bundle, sampling)
        return [(c.midi, judge(p, c.midi)) for p, c in zip(prescriptions, found, strict=True)]

    return Column("free", f"{bundle.sha256} {sampling}", make)


def etude_column() -> Column:
    """The embedded rule-based composer, asked for tonic, mode, tempo and meter."""
    return _laid_column("etudes", "", _etude)


def retrieved_column(prepared: Path, split: str = "test") -> Column:
    """The real piece nearest to what is asked, of a prepared corpus."""
    shelf = _Shelf(prepared, split)
    labels = hashlib.sha256((prepared / "labels.parquet").read_bytes()).hexdigest()
    return _laid_column("retrieved", f"{split} {labels}", shelf.nearest)


def _laid_column(
    name: str, identity: str, find: Callable[[Prescription, BarPlan], Gridded]
) -> Column:
    def make(prescriptions: Sequence[Prescription]) -> list[Made]:
        found = []
        for prescription in prescriptions:
            laid = plan(prescription)
            midi = write_midi(perform(canonical.unsnap(lay(find(prescription, laid), laid)), laid))
            found.append((midi, judge(prescription, midi)))
        return found

    return Column(name, identity, make)


def lay(grid: Gridded, laid: BarPlan) -> Gridded:
    """The bars of a piece, over and over, in the meter and for the bars of a plan.

    Its families, from the one with most notes, become the plan's in their order; where it has more,
    the rest go round again.
    """
    meter, bars, source = laid.bars.meters[0], len(laid), len(grid.meters)
    times = -(-bars // source)
    index = np.tile(np.arange(len(grid)), times)
    bar = np.repeat(source * np.arange(times), len(grid)) + grid.bar[index]
    kept = (bar < bars) & (grid.position[index] < meter.numerator * GRID)
    index, bar = index[kept], bar[kept]
    family = _families(grid, laid)[grid.family[index]]
    order = np.lexsort((grid.pitch[index], family, grid.position[index], bar))
    index = index[order]
    columns = {n: getattr(grid, n)[index] for n in ("position", "length", "pitch", "velocity")}
    return Gridded(bar=bar[order], family=family[order], meters=(meter,) * bars, **columns)


def _families(grid: Gridded, laid: BarPlan) -> Ints:
    """The plan's family for each family of the piece."""
    names = list(FAMILIES)
    count = np.bincount(grid.family, minlength=len(names))
    table = np.zeros(len(names), dtype=np.int64)
    wanted = [names.index(family) for family in laid.families]
    table[np.argsort(-count, kind="stable")] = np.resize(wanted, len(names))
    return table


def _etude(prescription: Prescription, laid: BarPlan) -> Gridded:
    fixed: dict[str, int | str] = {"tonic": 0, "bpm": int(np.clip(laid.bpm.mean(), 48, 140))}
    if laid.mode is not None:
        fixed["mode"] = laid.mode
    if str(laid.bars.meters[0]) in forms.METERS:
        fixed["meter"] = str(laid.bars.meters[0])
    notes = canonical.playable(etudes.compose(prescription.seed, **fixed).notes)
    moved = canonical.into_range(notes.transpose(keys.estimate_key(notes).to_canonical))
    return canonical.snap(moved, moved.bars())


class _Shelf:
    """The pieces of a split, by what they are."""

    def __init__(self, prepared: Path, split: str) -> None:
        self.rows = load_split(prepared, split)
        self.vocabulary = Vocabulary.load(prepared / "vocabulary.json")
        labels = load_labels(prepared, split)
        self.values: dict[str, Floats] = {
            name: labels[name].to_numpy().astype(float) for name in NEAR
        }
        self.scale = {name: float(np.nanstd(value)) or 1.0 for name, value in self.values.items()}

    @functools.cached_property
    def meters(self) -> list[str]:
        """Meter of each piece's first bar."""
        first = [int(tokens[self.vocabulary.kind[tokens] == METER][0])
                 for tokens in self.rows["tokens"]]  # fmt: skip
        return [self.vocabulary.meters[self.vocabulary.value[token]] for token in first]

    def nearest(self, prescription: Prescription, laid: BarPlan) -> Gridded:
        """The piece in the asked meter that is nearest over what is asked."""
        asked = {name: float(np.nanmean(laid.targets[name])) for name in NEAR if name != "mode"
                 and getattr(prescription, name) is not None}  # fmt: skip
        if laid.mode is not None:
            asked["mode"] = float(laid.mode == "major")
        distance = np.zeros(len(self.rows))
        for name, value in asked.items():
            off = np.abs(self.values[name] - value) / self.scale[name]
            distance += np.nan_to_num(off, nan=2.0)  # what is not known is far
        same = np.array([meter == str(laid.bars.meters[0]) for meter in self.meters])
        distance[~same] += 100.0 if same.any() else 0.0
        return decode(self.rows[int(distance.argmin())]["tokens"], self.vocabulary)
