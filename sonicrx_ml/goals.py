"""Goal presets: from a goal to a prescription, with the evidence for every part of it.

The presets live in `goals.toml` beside this file, each parameter with its value, reason, sources
and strength mark (A meta-analysis, B trial, C small study, X expert opinion, E engineering
default). They are starting points: everything can be overridden. A preset is complete: it has every
parameter of `COMPLETE`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, get_args

from sonicrx_ml.curve import Curve
from sonicrx_ml.prescription import CONTROLS, Prescription

#: What every preset says.
COMPLETE = (
    "duration_s",
    "tempo",
    "mode",
    "chromaticism",
    "energy",
    "density",
    "register",
    "instruments",
    "articulation",
    "final_silence_s",
)

Baseline = Literal["heart_rate", "breathing_rate", "cadence", "spontaneous_tempo"]
Moves = Literal["start", "all"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """Which baseline of the listener a curve follows, and how."""

    baseline: Baseline
    moves: Moves
    """`start`: the curve starts at the baseline and ends as it did; `all`: it moves in
    proportion."""
    low: float
    high: float
    reason: str
    citations: tuple[str, ...]
    strength: str

    def __post_init__(self) -> None:
        for name, legal in (("baseline", get_args(Baseline)), ("moves", get_args(Moves))):
            if getattr(self, name) not in legal:
                raise ValueError(
                    f"listener {name} {getattr(self, name)!r}; legal are {', '.join(legal)}"
                )

    def held(self, baseline: float) -> float:
        """The baseline, or the nearest that is followed."""
        return min(max(baseline, self.low), self.high)

    def curve(self, preset: Curve, baseline: float) -> Curve:
        """The preset's curve, moved to a baseline."""
        start, end = preset.points[0][1], preset.points[-1][1]
        first = self.held(baseline)
        if self.moves == "all":
            return Curve(tuple((f, round(value * first / start, 6)) for f, value in preset.points))
        slope = (first - end) / (start - end)
        return Curve(tuple((f, round(end + (v - end) * slope, 6)) for f, v in preset.points))


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One control of a preset, and why it is set so."""

    name: str
    value: Any
    reason: str
    citations: tuple[str, ...]
    strength: str
    listener: Fit | None = None
    follows_tempo: bool = False
    """Whether it keeps its share of the tempo when the tempo moves to the listener."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """What is known about a goal: the mark of the goal as a whole, and of every parameter."""

    goal: str
    title: str
    strength: str
    theory: str
    """What the music of the preset is, and how it is meant to act."""
    claim: str
    """What is known of it."""
    caution: str
    citations: tuple[str, ...]
    parameters: tuple[Parameter, ...]

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of this name, None where the preset leaves it open."""
        return next((p for p in self.parameters if p.name == name), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Iso:
    """The iso shape: shares of the time matched to the listener and gliding to the target."""

    matched: float
    glide: float
    reason: str
    citations: tuple[str, ...]
    strength: str

    def __post_init__(self) -> None:
        if not (self.matched > 0 and self.glide > 0 and self.matched + self.glide < 1):
            raise ValueError(f"iso matched {self.matched}, glide {self.glide}; legal add up to < 1")

    def curve(self, start: float, target: float) -> Curve:
        turn = self.matched + self.glide
        return Curve.of([[0, start], [self.matched, start], [turn, target], [1, target]], "iso")


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """All of `goals.toml`: the goals, the iso shape, the legend of marks, what sources showed."""

    goals: Mapping[str, Evidence]
    iso: Iso
    strengths: Mapping[str, str]
    sources: Mapping[str, str]


def goal_names() -> tuple[str, ...]:
    return tuple(library().goals)


def evidence(goal: str) -> Evidence:
    """The evidence for a goal. Raises `ValueError` that lists the legal goals."""
    goals = library().goals
    if goal not in goals:
        raise ValueError(f"goal {goal!r}; legal are {', '.join(goals)}")
    return goals[goal]


def prescribe(goal: str, duration_s: float | None = None, **overrides: Any) -> Prescription:
    """The preset of a goal, with any control replaced (None opens it).

    For a person there is `fitting.prescribe_for`. A track shorter than the preset keeps its curves'
    shapes and the share of its final silence.
    Energy is made of pace, loudness and articulation, so overriding it opens the preset's density
    and articulation, and overriding one of those opens the preset's energy.
    """
    values = {parameter.name: parameter.value for parameter in evidence(goal).parameters}
    if duration_s is not None:
        share = CONTROLS["duration_s"].check(duration_s) / values["duration_s"]
        values["final_silence_s"] = values.get("final_silence_s", 0.0) * min(1.0, share)
        values["duration_s"] = duration_s
    if "energy" in overrides:
        values |= {"density": None, "articulation": None}
    elif {"density", "articulation"} & overrides.keys():
        values["energy"] = None
    return Prescription.from_dict(values | {"goal": goal} | overrides)


def evidence_note(prescription: Prescription) -> str | None:
    """What is known of the goal, and its caution; a goal of somebody's own has none."""
    if prescription.goal not in goal_names():
        return None
    found = evidence(prescription.goal)
    preset = prescribe(prescription.goal, prescription.duration_s)
    own = preset.to_dict() | {"seed": prescription.seed, "key": prescription.key}
    mine = prescription.to_dict()
    changed = sorted(name for name in mine | own if mine.get(name) != own.get(name))
    note = f" Changed from the preset: {', '.join(changed)}." if changed else ""
    return f"{found.strength}: {found.claim} {found.caution}{note}"


def iso(start: float, target: float) -> Curve:
    """From the listener's state to the target: matched, then a glide, then at rest [E]."""
    return library().iso.curve(start, target)


# ---------------------------------------------------------------- reading goals.toml


@functools.cache
def library() -> Library:
    """The presets that ship with the package."""
    return parse(resources.files(__package__).joinpath("goals.toml").read_text(encoding="utf-8"))


def parse(text: str) -> Library:
    """Read presets. Raises `ValueError` that names the goal, the parameter and what is legal."""
    data = tomllib.loads(text)
    strengths, sources = data["strengths"], data["sources"]
    _check_marks("iso", data["iso"], strengths, sources)
    shape = Iso(**_tupled(data["iso"]))
    goals = {}
    for name, table in data["goals"].items():
        found = _parse_goal(name, table, shape)
        for part, marked in _marked(name, table):
            _check_marks(part, marked, strengths, sources)
        scalars = {key: value for key, value in table.items() if key not in found}
        goals[name] = Evidence(goal=name, parameters=tuple(found.values()), **_tupled(scalars))
    return Library(goals=goals, iso=shape, strengths=strengths, sources=sources)


def _marked(name: str, table: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """A goal's table, its parameters, and what these say of the listener, each with its name."""
    yield name, table
    for part, entry in table.items():
        if isinstance(entry, dict):
            yield from _marked(f"{name} {part}", entry)


def _parse_goal(goal: str, table: Mapping[str, Any], shape: Iso) -> dict[str, Parameter]:
    """The parameters of one goal, their values checked one by one and together."""
    entries = {name: entry for name, entry in table.items() if isinstance(entry, dict)}
    try:
        found = {name: _parse_parameter(name, entry, shape) for name, entry in entries.items()}
        Prescription.from_dict({name: parameter.value for name, parameter in found.items()})
        if missing := [name for name in COMPLETE if name not in found]:
            raise ValueError(f"says nothing of {', '.join(missing)}; legal are complete presets")
    except ValueError as error:
        raise ValueError(f"goal {goal}: {error}") from error
    return found


def _parse_parameter(name: str, entry: Mapping[str, Any], shape: Iso) -> Parameter:
    if name not in CONTROLS:
        raise ValueError(f"unknown control {name!r}; legal are {', '.join(CONTROLS)}")
    fields = _tupled(entry)
    if (form := fields.pop("shape", None)) is not None:
        if form != "iso":
            raise ValueError(f"{name} has shape {form!r}; legal is iso")
        fields["value"] = shape.curve(*fields["value"])
    if "listener" in fields:
        fields["listener"] = Fit(**_tupled(fields["listener"]))
    return Parameter(name=name, **fields | {"value": CONTROLS[name].check(fields["value"])})


def _tupled(table: Mapping[str, Any]) -> dict[str, Any]:
    return {**table, "citations": tuple(table["citations"])}


def _check_marks(
    where: str, table: Mapping[str, Any], strengths: Mapping[str, str], sources: Mapping[str, str]
) -> None:
    """Legal strength, known sources, and a source wherever the mark claims more than E."""
    if table["strength"] not in strengths:
        legal = ", ".join(strengths)
        raise ValueError(f"{where}: strength {table['strength']!r}; legal are {legal}")
    for citation in table["citations"]:
        if citation not in sources:
            raise ValueError(f"{where}: cites {citation!r}; legal are {', '.join(sources)}")
    if table["strength"] != "E" and not table["citations"]:
        raise ValueError(f"{where}: strength {table['strength']} needs a citation; legal is E")
