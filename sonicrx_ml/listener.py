"""A listener: baselines, likes, dislikes and answers to the safety screen, under a pseudonym.

A profile is JSON that stays with whoever wrote it: of all it holds, only the id goes into a
manifest or a file name. An anchor is the listener's motif, or names it; `motifs.profile` reads a
profile and looks up what it names. What it changes in a preset is `fitting`'s part.
`python -m sonicrx_ml.listener` prints the fields with units and ranges, the questions of the safety
screen, and an example.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sonicrx_ml.anchor import Motif
from sonicrx_ml.curve import is_number, to_float
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.screening import LEGAL_OVERRIDE, check_names, items, like, sounds

LEGAL_ID = "pseudonyms of up to 32 letters, digits, - and _, with a digit among them: never a name"
LEGAL_ANCHOR = "a motif; or, beside the profile, its .json or .mid file, or id: P7 is P7.motif.json"
ANCHOR_FILE = r"[\w-]{1,64}|[^\n]{1,200}\.(midi?|json)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """A number of a profile: its unit, what is physiologically possible [E], what it is."""

    unit: str
    low: float
    high: float
    meaning: str


MEASURES: dict[str, Measure] = {
    "heart_rate": Measure(unit="beats/min", low=30, high=200, meaning="at rest, sitting, 5 min"),
    "breathing_rate": Measure(unit="breaths/min", low=4, high=40, meaning="at rest"),
    "cadence": Measure(unit="steps/min", low=40, high=190, meaning="at a comfortable walk"),
    "spontaneous_tempo": Measure(unit="BPM", low=30, high=200, meaning="tapped when none is asked"),
    "safe_level_db_spl": Measure(
        unit="dB SPL", low=40, high=85, meaning="loudest level for this listener"
    ),
}
SOUNDS: dict[str, str] = {
    "likes": "instruments that lead where the goal's own would sound",
    "dislikes": "instruments, or families for all of theirs, that never sound",
    "trigger_sounds": "as dislikes, for sounds that distress",
}


# ---------------------------------------------------------------- the profile


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who listens; see `MEASURES`, `SOUNDS` and `screening.items`. What is not known is left out.

    Raises `ValueError` that names the field, the value and what is legal.
    """

    id: str
    heart_rate: float | None = None
    breathing_rate: float | None = None
    cadence: float | None = None
    spontaneous_tempo: float | None = None
    likes: tuple[str, ...] = ()
    dislikes: tuple[str, ...] = ()
    trigger_sounds: tuple[str, ...] = ()
    screening: Mapping[str, bool] = field(default_factory=dict)
    anchor: Motif | str | None = None
    safe_level_db_spl: float | None = None

    def __post_init__(self) -> None:
        pseudonym(self.id, "id")
        object.__setattr__(self, "anchor", _anchor(self.anchor))
        for name in MEASURES:
            object.__setattr__(self, name, _measured(name, getattr(self, name)))
        for name in SOUNDS:
            legal = tuple(PALETTE) if name == "likes" else sounds()
            object.__setattr__(self, name, _named(name, getattr(self, name), legal))
        object.__setattr__(self, "screening", _answers(self.screening))
        barred = self.barred
        if both := [name for name in self.likes if name in barred]:
            raise ValueError(f"likes {both[0]!r}, which {barred[both[0]]}; legal is one of the two")

    @property
    def motif(self) -> Motif | None:
        """The anchor. Raises `ValueError` where only its name is known."""
        if isinstance(self.anchor, str):
            raise ValueError(
                f"anchor {self.anchor!r} of listener {self.id} was not looked up; legal is a motif "
                f"in the profile itself, or the profile's file beside the motif's"
            )
        return self.anchor

    @property
    def barred(self) -> dict[str, str]:
        """Instruments that never sound for this listener, and why."""
        why = {"trigger_sounds": "is a trigger sound", "dislikes": "is disliked"}
        return {
            instrument: reason
            for kind, reason in why.items()
            for name in getattr(self, kind)
            for instrument in like(name)
        }

    def to_json(self) -> str:
        """What is known, as JSON that `from_json` reads back."""
        known = {name: value for name, value in asdict(self).items() if value not in (None, (), {})}
        return re.sub(r"\[[^\[\]{}]*\]", _on_one_line, json.dumps(known, indent=1))

    @classmethod
    def from_json(cls, text: str | bytes) -> Listener:
        """Refuses unknown fields, naming the legal ones."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"a listener is a JSON object, not {type(values).__name__}")
        check_names("unknown field", values, [known.name for known in fields(cls)])
        if "id" not in values:
            raise ValueError(f"id is required; legal are {LEGAL_ID}")
        return cls(**values)


def _on_one_line(found: re.Match[str]) -> str:
    return re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]")


def pseudonym(value: object, what: str) -> str:
    """A name for a person that is no name. Raises `ValueError` with what is legal."""
    _check_text(what, value, r"(?=.*[0-9])[A-Za-z0-9][A-Za-z0-9_-]{0,31}", LEGAL_ID)
    return str(value)


def _anchor(value: Any) -> Motif | str | None:
    if value is None or isinstance(value, Mapping | Motif):
        return None if value is None else Motif.of(value)
    _check_text("anchor", value, ANCHOR_FILE, LEGAL_ANCHOR)
    return str(value)


def _check_text(name: str, value: object, pattern: str, legal: str) -> None:
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.ASCII):
        raise ValueError(f"{name} {value!r}; legal are {legal}")


def _measured(name: str, value: Any) -> float | None:
    known = MEASURES[name]
    if value is None:
        return None
    if not is_number(value) or not known.low <= value <= known.high:
        raise ValueError(
            f"{name} {value!r}; legal are {known.low:g} to {known.high:g} {known.unit}"
        )
    return to_float(value)


def _named(name: str, value: Any, legal: Iterable[str]) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name} {value!r}; legal is a list of {', '.join(legal)}")
    check_names(name, value, legal)
    return tuple(value)


def _answers(value: Any) -> dict[str, bool]:
    if not isinstance(value, Mapping):
        raise ValueError(f"screening {value!r}; legal are answers to {', '.join(items())}")
    check_names("screening", value, items())
    for name, answer in value.items():
        if not isinstance(answer, bool):
            raise ValueError(f"screening {name} {answer!r}; legal are true and false")
    return dict(value)


# ---------------------------------------------------------------- the fields in print


def vocabulary() -> str:
    """Every field with unit, legal values and meaning, the screen's questions, and an example."""
    rows = [("field", "unit", "legal", "meaning"), ("id", "-", LEGAL_ID, "pseudonym")]
    for name, known in MEASURES.items():
        rows.append((name, known.unit, f"{known.low:g} to {known.high:g}", known.meaning))
    rows += [(name, "-", "see below", meaning) for name, meaning in SOUNDS.items()]
    rows.append(("anchor", "-", LEGAL_ANCHOR, "the listener's motif"))
    rows.append(("screening", "-", "true, false", "an answer to each question below"))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = [f"{a.ljust(widths[0])}  {b.ljust(widths[1])}  {c}; {d}" for a, b, c, d in rows]
    lines += ["", "Screening; what needs a clinician is refused without override=" + LEGAL_OVERRIDE]
    lines += [f"  {item.name} ({item.needs}): {item.question}" for item in items().values()]
    lines += ["", "Instruments are those that python -m sonicrx_ml.prescription prints."]
    return "\n".join([*lines, "", "Example:", example().to_json()])


def example() -> Listener:
    """A listener with every field, for whom nothing in the screen stands against a goal."""
    return Listener(
        id="P07",
        heart_rate=78,
        breathing_rate=14,
        cadence=96,
        spontaneous_tempo=90,
        likes=("cello",),
        dislikes=("harp",),
        trigger_sounds=("bells",),
        screening=dict.fromkeys(items(), False),
        anchor=Motif(
            mode="major",
            meter="4/4",
            bars=2,
            degree=(0, 2, 4, 3, 2),
            alter=(0,) * 5,
            onset=(0, 1, 2, 3, 4),
            length=(1, 1, 1, 1, 4),
        ),
        safe_level_db_spl=70,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m sonicrx_ml.listener", description="print what a listener's profile holds"
    )
    parser.add_argument("--example", action="store_true", help="print an example alone, as JSON")
    print(example().to_json() if parser.parse_args().example else vocabulary())
