"""A time of listening: what was heard, how loud, and how the listener was before and after.

Ratings are those a clinician logs: SUDS 0 to 10, VAS 0 to 100 and STAI-6 as the sum of its six
items, 6 to 24. In all three *higher is worse* (for a mood goal, the VAS is of low mood).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sonicrx_ml.curve import is_number
from sonicrx_ml.hearing import ADULT, EXCHANGE_DB, WEEKLY_HOURS
from sonicrx_ml.listener import pseudonym
from sonicrx_ml.prescription import Prescription

#: Why a session ended. `interrupted` and `technical` are not the music's doing.
STOPPED = ("finished", "asleep", "disliked", "distressed", "interrupted", "technical")
DECISIONS = ("accepted", "declined")
WEEK = timedelta(days=7)
NEAR = 0.8  # of the weekly dose: warn [E]


class Range(NamedTuple):
    """Legal values of a figure, both ends included."""

    low: float
    high: float
    unit: str
    meaning: str


#: The figures of a session. Ranges are those of the scales, else of what a person could show [E].
FIGURES: dict[str, Range] = {
    "minutes": Range(0, 720, "min", "minutes heard"),
    "level_db_spl": Range(20, 120, "dB SPL", "level at the ear while the music played"),
    "suds_before": Range(0, 10, "", "subjective units of distress before"),
    "suds_after": Range(0, 10, "", "and after"),
    "vas_before": Range(0, 100, "mm", "visual analogue scale before; higher is worse"),
    "vas_after": Range(0, 100, "mm", "and after"),
    "stai6_before": Range(6, 24, "", "STAI-6 before, the sum of six items from 1 to 4"),
    "stai6_after": Range(6, 24, "", "and after"),
    "rmssd_before": Range(1, 300, "ms", "heart-rate variability (RMSSD) before"),
    "rmssd_after": Range(1, 300, "ms", "and after"),
    "rmssd_seconds": Range(10, 3600, "s", "length of each recording behind RMSSD"),
    "breaths_before": Range(3, 40, "/min", "breathing rate in the recording before"),
    "breaths_after": Range(3, 40, "/min", "and after"),
}
ROUNDED_MIN = 0.5  # by which the minutes heard may be rounded up
REQUIRED = ("minutes", "level_db_spl")
PAIRS = ("suds", "vas", "stai6", "rmssd", "breaths")


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """One time of listening; `FIGURES` has the units and ranges.

    Raises `ValueError` that names the value and what is legal.
    """

    listener: str
    prescription: Prescription
    began: datetime
    "With its time zone; kept in UTC, to the second."
    minutes: float
    level_db_spl: float
    stopped: str = "finished"
    suds_before: float | None = None
    suds_after: float | None = None
    vas_before: float | None = None
    vas_after: float | None = None
    stai6_before: float | None = None
    stai6_after: float | None = None
    rmssd_before: float | None = None
    rmssd_after: float | None = None
    rmssd_seconds: float | None = None
    breaths_before: float | None = None
    breaths_after: float | None = None

    def __post_init__(self) -> None:
        pseudonym(self.listener, "listener")
        if self.began.tzinfo is None:
            raise ValueError(f"began {self.began.isoformat()}; legal is a time with its zone")
        object.__setattr__(self, "began", self.began.astimezone(UTC).replace(microsecond=0))
        if self.stopped not in STOPPED:
            raise ValueError(f"stopped {self.stopped!r}; legal are {', '.join(STOPPED)}")
        for name in FIGURES:
            self._check(name)
        for pair in PAIRS:
            self._check_pair(pair)
        if (self.rmssd_before is None) != (self.rmssd_seconds is None):
            raise ValueError("rmssd_before and rmssd_seconds; legal are both or neither")

    def heard_once(self) -> Session:
        """The same. Raises `ValueError` where more was heard than the track has."""
        whole = self.prescription.duration_s / 60
        if self.minutes > whole + ROUNDED_MIN:
            raise ValueError(
                f"minutes {self.minutes:g}; the track has {whole:.3g}: legal are 0 to that, and a "
                "session for each time that it was heard"
            )
        return self

    def _check(self, name: str) -> None:
        value, (low, high, unit, _) = getattr(self, name), FIGURES[name]
        if value is None and name not in REQUIRED:
            return
        if not is_number(value) or not low <= value <= high:
            raise ValueError(f"{name} {value!r}; legal are {low:g} to {high:g} {unit}".rstrip())
        object.__setattr__(self, name, float(value))

    def _check_pair(self, pair: str) -> None:
        before, after = f"{pair}_before", f"{pair}_after"
        if (getattr(self, before) is None) != (getattr(self, after) is None):
            raise ValueError(f"{before} and {after}; legal are both or neither")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A row of the journal: a session, or what was wrong with an earlier row."""

    number: int
    logged: datetime
    session: Session
    corrects: int | None
    "The row that this one replaces."
    withdrawn: bool
    "The row that this one replaces did not happen, or was entered twice."


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A suggestion as it was shown (see `suggestion`): what is decided on later."""

    listener: str
    base: Prescription
    proposed: Prescription
    words: str
    override: str | None = None
    """"who: why" of the clinician who let it pass the screen."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a person did with a suggestion (see `suggestion`)."""

    listener: str
    by: str
    "Pseudonym of the person who decided."
    decision: str
    base: Prescription
    proposed: Prescription
    words: str
    "The suggestion's explanation, as it was shown."

    def __post_init__(self) -> None:
        pseudonym(self.listener, "listener")
        pseudonym(self.by, "by")
        if self.decision not in DECISIONS:
            raise ValueError(f"decision {self.decision!r}; legal are {', '.join(DECISIONS)}")


# ---------------------------------------------------------------- hearing


@dataclass(frozen=True, slots=True)
class Dose:
    """What the sessions of seven days did to the weekly allowance of ITU-T H.870."""

    hours: float
    share: float
    "Of the allowance: 1 is all of it."

    @property
    def warning(self) -> str | None:
        """A sentence where the allowance is nearly or wholly used, else None."""
        if self.share < NEAR:
            return None
        state = "is used up" if self.share >= 1 else "is nearly used up"
        return (
            f"The weekly hearing allowance {state}: {self.share:.0%} in {self.hours:.1f} h of "
            "sessions. Lower the level or rest the ears; other loud sound comes on top."
        )


def dose(sessions: Iterable[Session], now: datetime, reference: float = ADULT) -> Dose:
    """The dose of the sessions that began in the seven days up to `now` (ITU-T H.870, 2018).

    reference: dBA for 40 hours a week, `hearing.ADULT` or `hearing.CHILD`. The level in dB SPL is
    taken for dBA, which for music errs on the safe side [E]. Sound from elsewhere is not known.
    """
    week = [s for s in sessions if now - WEEK < s.began <= now]
    allowed = [WEEKLY_HOURS * 2.0 ** ((reference - s.level_db_spl) / EXCHANGE_DB) for s in week]
    shares = (s.minutes / 60 / hours for s, hours in zip(week, allowed, strict=True))
    return Dose(sum(s.minutes for s in week) / 60, sum(shares))
