"""The safety screen: what is asked of a listener, what a yes brings, who may let a goal pass.

The items live in `screening.toml`, validated at load. A screen is no diagnosis, and what is not
asked it does not see.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, get_args

from sonicrx_ml.goals import evidence, goal_names, library
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.prescription import CONTROLS

LEGAL_OVERRIDE = "'who: why' in one line, as in 'Dr B: present throughout'"

Needs = Literal["clinician", "refused", "caution"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One question, and what a yes brings: refusal, warning, caps."""

    name: str
    question: str
    needs: Needs
    warning: str
    strength: str
    goals: tuple[str, ...] = ()
    """Goals it concerns; none for all."""
    never: tuple[str, ...] = ()
    """Instruments and families that do not sound."""
    open_mode: tuple[str, ...] = ()
    """Goals whose mode is left open, so that valence is not forced."""
    max_playback_db_spl: float | None = None
    max_sharpness_acum: float | None = None
    """What the judge has to find in the sound (DIN 45692)."""

    def __post_init__(self) -> None:
        for name, legal in (
            ("goals", goal_names()),
            ("open_mode", goal_names()),
            ("never", sounds()),
        ):
            check_names(f"{self.name}: {name}", getattr(self, name), legal)
        check_names(f"{self.name}: needs", [self.needs], get_args(Needs))
        check_names(f"{self.name}: strength", [self.strength], library().strengths)
        if self.max_playback_db_spl is not None:
            CONTROLS["playback_db_spl"].check(self.max_playback_db_spl)

    def concerns(self, goal: str) -> bool:
        return not self.goals or goal in self.goals


def sounds() -> tuple[str, ...]:
    """What may be disliked: families (all of it) and instruments."""
    return tuple(dict.fromkeys([*FAMILIES, *PALETTE]))


def like(name: str) -> tuple[str, ...]:
    """Instruments that an unwanted name means: its family, itself, and those named after it."""
    return tuple(
        instrument
        for instrument, (_, family) in PALETTE.items()
        if name in (family, instrument) or name in instrument.split("_")
    )


def check_names(where: str, names: Iterable[str], legal: Iterable[str]) -> None:
    """Raises `ValueError` that lists what is legal."""
    legal = tuple(legal)
    for name in names:
        if name not in legal:
            raise ValueError(f"{where} {name!r}; legal are {', '.join(legal)}")


@functools.cache
def items() -> Mapping[str, Item]:
    """The items that ship with the package, by name."""
    text = resources.files(__package__).joinpath("screening.toml").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> dict[str, Item]:
    """Read items. Raises `ValueError` or `TypeError` that names the item and the field."""
    return {name: Item(name=name, **_tupled(table)) for name, table in tomllib.loads(text).items()}


def _tupled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in table.items()}


# ---------------------------------------------------------------- the screen of a listener


class ScreenError(ValueError):
    """The screen stands against a goal; `overridable` where a clinician may decide otherwise."""

    def __init__(self, message: str, *, overridable: bool) -> None:
        super().__init__(message)
        self.overridable = overridable


@dataclass(frozen=True, slots=True)
class Override:
    """Who let a goal pass the screen, and why."""

    who: str
    why: str

    def __str__(self) -> str:
        return f"{self.who}: {self.why}"

    @classmethod
    def of(cls, text: str) -> Override:
        """From "who: why". Raises `ValueError`."""
        found = re.fullmatch(r"([^:\n]*\S)\s*:\s*(\S[^\n]*)", text.strip())
        if found is None:
            raise ValueError(f"override {text!r}; legal is {LEGAL_OVERRIDE}")
        return cls(found[1], found[2])


def screen(answers: Mapping[str, bool], goal: str) -> tuple[Item, ...]:
    """The items that were answered with yes and that concern the goal."""
    return tuple(item for item in asked_for(goal) if answers.get(item.name, False))


def unanswered(answers: Mapping[str, bool], goal: str) -> tuple[str, ...]:
    """The questions that concern the goal and were not answered."""
    return tuple(item.name for item in asked_for(goal) if item.name not in answers)


def asked_for(goal: str) -> tuple[Item, ...]:
    """The items that concern a goal. Raises `ValueError` that lists the legal goals."""
    evidence(goal)
    return tuple(item for item in items().values() if item.concerns(goal))


def permit(
    answers: Mapping[str, bool], goal: str, listener: str, override: str | None
) -> Override | None:
    """The override that lets the goal pass; None where nothing stands against it.

    Raises `ScreenError` where the goal may not pass, and `ValueError` for what is no override.

    An unanswered question counts as one that needs a clinician.
    """
    found, whom = screen(answers, goal), f"goal {goal!r} for listener {listener}"
    if refused := [item.warning for item in found if item.needs == "refused"]:
        raise ScreenError(f"{whom} is refused: {' '.join(refused)}", overridable=False)
    missing = unanswered(answers, goal)
    open_refusals = [i.name for i in screen(dict.fromkeys(missing, True), goal)
                     if i.needs == "refused"]  # fmt: skip
    if open_refusals:
        asks = ", ".join(open_refusals)
        raise ScreenError(f"{whom} first needs an answer to {asks}", overridable=False)
    given = None if override is None else Override.of(override)
    against = [item.name for item in found if item.needs == "clinician"]
    if missing:
        against.append(f"screening not answered: {', '.join(missing)}")
    if against and given is None:
        raise ScreenError(
            f"{whom} needs a clinician's override ({'; '.join(against)}); legal is override="
            f"{LEGAL_OVERRIDE}",
            overridable=True,
        )
    return given if against else None
