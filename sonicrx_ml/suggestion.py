"""A suggestion for the next prescription: what it moves, why, how sure; a person decides.

It is nothing until a person accepts it: `accept` and `decline` write down in the journal who did,
for the suggestion that the journal keeps as shown.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from sonicrx_ml.curve import Curve
from sonicrx_ml.journal import Journal
from sonicrx_ml.knobs import Knob
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.screening import Override
from sonicrx_ml.session import Decision, Shown

Z95 = 1.96
FOR_LEARNING = (
    "This is to learn, not to do better: the sessions speak for no change yet. What to keep for "
    "now is another question (keep=true)."
)


@dataclass(frozen=True, slots=True)
class Expected:
    """A figure in points with its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, deviation: float) -> Expected:
        return cls(float(value), float(value - Z95 * deviation), float(value + Z95 * deviation))

    def __str__(self) -> str:
        return f"{round(self.value)} points (95 %: {round(self.low)} to {round(self.high)})"


@dataclass(frozen=True, slots=True)
class Move:
    """One control that a suggestion moves, and what that alone is expected to do."""

    knob: Knob
    x: float
    before: Curve
    after: Curve
    gain: Expected

    @property
    def words(self) -> str:
        way = "higher" if self.x > 0 else "lower"
        unit = CONTROLS[self.knob.control].unit
        change = f"{_told(self.before)} to {_told(self.after)} {unit}".rstrip()
        name = "loudness" if self.knob.control == "energy" else self.knob.control
        change = f"energy {change}" if name == "loudness" else change
        return f"{name} {way}, {change}: {self._why}; alone it would gain {self.gain}"

    @property
    def _why(self) -> str:
        if self.gain.low > 0:
            return "the sessions speak for it"
        if self.gain.value > 0:
            return "the sessions lean towards it, too few to be sure"
        return "it is moved to learn, the sessions do not speak for it"


@dataclass(frozen=True, kw_only=True, slots=True)
class Suggestion:
    """What might be prescribed next. It is nothing until a person accepts it."""

    listener: str
    base: Prescription
    proposed: Prescription
    moves: tuple[Move, ...]
    expected: Expected
    "The outcome of the next session, if this is prescribed."
    expected_of_base: Expected
    gain: Expected
    "By how much the outcome would be better than the base's, over many sessions."
    better: float
    "Probability that it is better than the base at all."
    used: int
    left_out: int
    warnings: tuple[str, ...] = ()
    "What to warn of; a listener's are those of the screen."
    override: Override | None = None
    "Who let it pass the screen, and why."

    @property
    def words(self) -> str:
        """The suggestion for a reader: what moves, why, how sure."""
        allowed = [f"Let pass the screen by {self.override}."] if self.override else []
        return "\n".join([*self._about, *allowed, *(f"! {warning}" for warning in self.warnings)])

    @property
    def _about(self) -> list[str]:
        if not self.used:
            return ["No session has taught anything yet: begin with the base."]
        about = f"From {self.used} rated sessions of {self.listener}, goal {self.base.goal}"
        about += f" ({self.left_out} others left out)." if self.left_out else "."
        if not self.moves:
            return [f"{about} Stay with the base: expected {self.expected}."]
        return [
            about,
            *([] if self.gain.value > 0 else [FOR_LEARNING]),
            "Moved from the base:",
            *(f"- {move.words}" for move in self.moves),
            f"Expected of a session {self.expected}; of the base {self.expected_of_base}.",
            f"Gain over the base {self.gain}; it is better with probability {self.better:.2f}.",
            "A point of SUDS is worth 8 points, 4 beside a VAS. All ranges are engineering "
            "defaults [E]. Nothing changes until a person accepts.",
        ]

    @property
    def shown(self) -> Shown:
        """What a journal keeps of it: `Journal.show` before it is shown, `decide` after."""
        return Shown(
            listener=self.listener,
            base=self.base,
            proposed=self.proposed,
            words=self.words,
            override=str(self.override) if self.override else None,
        )

    def accept(self, journal: Journal, *, by: str) -> Prescription:
        """Write down who accepted, and give the prescription out."""
        return decide(journal, self.shown, by=by, accepted=True)

    def decline(self, journal: Journal, *, by: str) -> Prescription:
        """Write down who declined; the base stays."""
        return decide(journal, self.shown, by=by, accepted=False)


def decide(journal: Journal, shown: Shown, *, by: str, accepted: bool) -> Prescription:
    """Write down who accepted or declined what was shown; the prescription that holds then."""
    journal.decide(
        Decision(
            listener=shown.listener,
            by=by,
            decision="accepted" if accepted else "declined",
            base=shown.base,
            proposed=shown.proposed,
            words=shown.words,
        )
    )
    return shown.proposed if accepted else shown.base


def _told(curve: Curve) -> str:
    """The levels of a curve, in their order."""
    return "-".join(f"{level:.3g}" for level, _ in itertools.groupby(v for _, v in curve.points))
