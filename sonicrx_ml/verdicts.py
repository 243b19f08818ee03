"""What the judge says of a track, as data: verdicts, curves over bars, series; JSON in and out.

Bars are the *asked* bars, as spans of seconds. A bar that cannot tell (a rest has no register) is
None. Units are those of `prescription.CONTROLS`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from sonicrx_ml import keys
from sonicrx_ml.notes import Floats

Where = Literal["notes", "sound"]
Rule = Literal["within", "within %", "at most", "at least", "rings on", "same", "same set"]
Outcome = Literal["pass", "fail", "not asked", "info"]
Section = Literal["asked", "safety", "sound"]

RING_S = 3.0  # that the last sound may ring on beyond its release [E]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of a report. Curves show their means over bars as `asked` and `realised`."""

    attribute: str
    where: Where
    unit: str
    asked: float | str | None
    realised: float | str | None
    error: float | None
    """How far off, in `unit` (percent for the rule "within %"); None where nothing was measured."""
    rule: Rule
    tolerance: float | None
    """Largest error that passes; None for what is only reported."""
    verdict: Outcome
    limit: bool
    """True for a limit that holds for every track, asked or not; it does not count in the score."""
    source: str
    moved: float | None = None
    """Share of the asked movement that a curve makes: 1 all, 0 none, below 0 the other way; None
    where no clear movement is asked."""
    section: Section = "asked"
    """What the row is about: what was asked, what is safe, what the music sounds like."""
    playback_db_spl: float | None = None
    """Level at which a -23 LUFS track is taken to be played; None where the figure needs none."""
    extent: str = "whole"
    """How much was measured: the whole, or excerpts as "20 x 2 s"."""
    flag: str | None = None
    """A warning: notes and sound disagree, a model's range is left, nothing could be measured."""


@dataclass(frozen=True, slots=True)
class BarCurve:
    """An attribute over the asked bars; None where open, or where a bar cannot tell."""

    attribute: str
    where: Where
    unit: str
    asked: tuple[float | None, ...]
    realised: tuple[float | None, ...]
    phrase: int
    """Bars over which the two are compared."""
    rho: float | None
    """Spearman correlation over bars; None where either side does not vary."""


@dataclass(frozen=True, slots=True)
class Series:
    """Something measured over time; `asked` is the level its whole is held to, None for none."""

    name: str
    unit: str
    asked: float | None
    seconds: tuple[float, ...]
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the judge found. JSON in and out, without NaN."""

    prescription_id: str
    failure: str | None
    """Why the track could not be judged at all; None when it could."""
    verdicts: tuple[Verdict, ...]
    bar_seconds: tuple[float, ...]
    """Start of each asked bar, and last the asked end of the music."""
    curves: tuple[BarCurve, ...]
    series: tuple[Series, ...]

    @property
    def asked(self) -> tuple[str, ...]:
        """The attributes that the prescription asks for."""
        rows = (v for v in self.verdicts if v.verdict in ("pass", "fail") and not v.limit)
        return tuple(dict.fromkeys(row.attribute for row in rows))

    @property
    def met(self) -> tuple[str, ...]:
        """The asked attributes that pass wherever they were measured."""
        failed = {row.attribute for row in self.verdicts if row.verdict == "fail"}
        return tuple(name for name in self.asked if name not in failed)

    @property
    def score(self) -> float:
        """Average share of attributes (ASA, after MuseCoco): asked ones met; 0 for a failure."""
        return 0.0 if self.failure else len(self.met) / len(self.asked)

    @property
    def merit(self) -> tuple[float, float]:
        """Rises with how well the track conforms: by score, then by how near it is.

        The second figure is minus the mean over asked rows of error over tolerance, up to 10 each.
        """
        rows = [v for v in self.verdicts if v.verdict in ("pass", "fail") and not v.limit]
        off = [10.0 if v.error is None else min(10.0, v.error / (v.tolerance or 0.1)) for v in rows]
        return self.score, -sum(off) / max(1, len(off))

    def find(self, attribute: str, where: Where = "notes") -> Verdict | None:
        """The verdict on an attribute; None where it was not measured there."""
        found = (v for v in self.verdicts if (v.attribute, v.where) == (attribute, where))
        return next(found, None)

    def row(self, attribute: str, where: Where = "notes") -> Verdict:
        """The verdict on an attribute. Raises `ValueError` listing the rows there are."""
        found = self.find(attribute, where)
        if found is None:
            legal = ", ".join(f"{v.attribute} ({v.where})" for v in self.verdicts)
            raise ValueError(f"no verdict on {attribute!r} ({where}); legal are {legal}")
        return found

    def curve(self, attribute: str, where: Where = "notes") -> BarCurve | None:
        """The attribute over bars; None where it was not measured there."""
        found = (c for c in self.curves if (c.attribute, c.where) == (attribute, where))
        return next(found, None)

    def to_dict(self) -> dict[str, Any]:
        return {"score": self.score} | asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Report:
        return cls(
            prescription_id=values["prescription_id"],
            failure=values["failure"],
            verdicts=tuple(Verdict(**row) for row in values["verdicts"]),
            bar_seconds=tuple(values["bar_seconds"]),
            curves=tuple(BarCurve(**_tupled(curve)) for curve in values["curves"]),
            series=tuple(Series(**_tupled(series)) for series in values["series"]),
        )

    def to_json(self) -> str:
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Report:
        return cls.from_dict(json.loads(text))


def _tupled(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def phrase_means(values: Floats, phrase: int) -> Floats:
    """Mean over the `phrase` bars around each bar of those that have a value; NaN for none."""
    told = np.isfinite(values)
    columns = np.stack([np.where(told, values, 0.0), told.astype(float)], axis=1)
    total, count = keys.moving_sum(columns, phrase).T
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)
