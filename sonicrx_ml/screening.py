"""The safety screen: what is asked of a listener, and what each yes brings for a goal.

The items live in `screening.toml`, validated at load. A screen is no diagnosis, and what is not
asked it does not see.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, get_args

from sonicrx_ml.goals import goal_names, library
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.prescription import CONTROLS

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
