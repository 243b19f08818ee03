"""What is asked: a goal, what was changed by hand, and for whom; in and out of the forms.

What the forms show is always what would be composed: after every change the whole prescription is
made anew from the goal's preset, the listener and what was changed by hand. A value that cannot be
asked stays where it was entered, with the reason beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from sonicrx_ml import motifs
from sonicrx_ml.anchor import Motif
from sonicrx_ml.asking import a_course, for_anyone, for_listener
from sonicrx_ml.course import Course
from sonicrx_ml.curve import Curve
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.goals import evidence, goal_names, prescribe
from sonicrx_ml.listener import Listener, pseudonym
from sonicrx_ml.notes import read_midi
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.screening import ScreenError, items
from sonicrx_ml.ui.fields import COMPOSED, FROM_FILE, NO_ANCHOR, OWN_GOAL

FIRST_GOAL = "anxiety"
MOST_CARE = 4  # tries for each phrase, where nobody says otherwise
LISTENER_FIELDS = tuple(f.name for f in fields(Listener))


@dataclass(slots=True)
class Asking:
    """The state behind the forms; everything in it is plain JSON."""

    goal: str = FIRST_GOAL
    edited: dict[str, Any] = field(default_factory=dict)
    """Control -> what was entered by hand, None for open."""
    takes: int = 1
    best_of: int = MOST_CARE
    anchor: str | None = None
    """Where the anchor is from: a number, a file, nowhere, or None for the listener's own."""
    anchor_seed: int = 0
    anchor_motif: dict[str, Any] | None = None
    person: dict[str, Any] = field(default_factory=dict)
    """Fields of the listener's profile and the override, as entered."""

    def draft(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def of_draft(cls, draft: Mapping[str, Any]) -> Asking:
        """From `draft`; what this version does not know is left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: value for name, value in draft.items() if name in known})

    def enter(self, name: str, value: Any) -> None:
        """A field of the asking form was changed."""
        if name == "goal":
            self.goal, self.edited = str(value), _kept(self.edited)
        elif name == "minutes":
            self.edited["duration_s"] = None if value is None else 60 * value
        elif name in ("takes", "best_of"):
            setattr(self, name, int(value))
        elif name == "anchor":
            self.anchor = value
        elif name == "anchor_seed":
            self.anchor_seed = value
        elif name == "anchor_at":
            self.edited[name] = None if value is None else _numbers(value)
        else:
            self.edited[name] = None if value == [] else value

    def enter_person(self, name: str, value: Any) -> None:
        """A field of the listener's form was changed."""
        if value is None or value == []:
            self.person.pop(name, None)
        else:
            self.person[name] = value

    # ------------------------------------------------------------ what it comes to

    def listener(self) -> Listener | None:
        """The listener, None where no pseudonym is given. Raises `ValueError`."""
        if "id" not in self.person:
            return None
        given = {name: value for name, value in self.person.items() if name in LISTENER_FIELDS}
        answers = {name: self.person[name] for name in items() if name in self.person}
        return Listener(**given | {"screening": answers})

    def pseudonym(self) -> str | None:
        """Of the listener, where it is legal, whatever else of the profile is not."""
        try:
            return pseudonym(self.person.get("id"), "id")
        except ValueError:
            return None

    def profile(self, text: bytes) -> None:
        """Take a stored profile over. Raises `ValueError`."""
        known = json.loads(Listener.from_json(text).to_json())
        answers = known.pop("screening", {})
        self.person = known | answers

    def controls(self) -> dict[str, Any]:
        """What was changed by hand, the anchor among it."""
        given = dict(self.edited)
        if self.anchor == NO_ANCHOR or (self.anchor is None and not self.person.get("anchor")):
            given.pop("anchor_at", None)
        if self.anchor in (None, NO_ANCHOR):
            return given if self.anchor is None else given | {"anchor": None}
        return given | {"anchor": self._motif()}

    def _motif(self) -> Motif:
        if self.anchor == COMPOSED:
            mode, meter = self.edited.get("mode"), self.edited.get("meter")
            if self.goal != OWN_GOAL:
                preset = prescribe(self.goal)
                mode, meter = mode or preset.mode, meter or preset.meter
            seed = CONTROLS["seed"].check(self.anchor_seed)
            return motifs.composed(seed, mode or "major", meter or "4/4")
        if self.anchor_motif is None:
            raise ValueError("anchor from a file, but none is given; legal is MIDI or JSON")
        return Motif.of(self.anchor_motif)

    def take_motif(self, name: str, content: bytes) -> None:
        """Read the anchor from a file's content. Raises `ValueError`."""
        if Path(name).suffix.lower() in (".mid", ".midi"):
            motif = motifs.from_notes(read_midi(content))
        else:
            motif = Motif.of(content)
        self.anchor, self.anchor_motif = FROM_FILE, motif.to_dict()

    def given(self) -> dict[str, Any]:
        """Goal and controls, as `sonicrx_ml.asking` takes them. Raises `ValueError`."""
        given = self.controls()
        if self.goal == OWN_GOAL:
            return {"duration_s": None} | given
        if "duration_s" in given and given["duration_s"] is None:
            raise ValueError("duration_s is empty; legal are 10 to 7200 s")
        return given | {"goal": self.goal}

    def prescription(self) -> tuple[Prescription, ListeningPlan | None]:
        """What would be composed, and for a listener why. Raises `ValueError`, `ScreenError`."""
        given, listener, override = self.given(), self.listener(), self.person.get("override")
        if listener is None:
            if override is not None:
                raise ValueError("override without a listener; legal is to give a pseudonym")
            own = self.goal == OWN_GOAL  # which may have a name that no preset has
            return Prescription.from_dict(given) if own else for_anyone(given), None
        self._known_goal("for a listener")
        plan = for_listener(listener, given, override=override)
        return plan.prescription, plan

    def course(self, shape: str) -> Course:
        """The same as a course. Raises `ValueError`, `ScreenError`."""
        self._known_goal("as a course")
        override = self.person.get("override")
        return a_course(shape, self.listener(), self.given(), override=override)

    def _known_goal(self, what: str) -> None:
        if self.goal == OWN_GOAL:
            raise ValueError(f"goal of your own {what}; legal is a goal of the list, which the "
                             "safety screen knows")  # fmt: skip

    def sampling(self) -> SamplingConfig:
        return SamplingConfig(best_of=self.best_of)

    # ------------------------------------------------------------ made again

    def restore(self, text: bytes) -> Prescription:
        """Every control as a manifest or a prescription has it. Raises `ValueError`."""
        try:
            values = json.loads(text)
        except (UnicodeDecodeError, json.JSONDecodeError) as error:
            raise ValueError("no JSON; legal is manifest.json or prescription.json") from error
        if not isinstance(values, dict):
            raise ValueError("no manifest; legal is manifest.json or prescription.json")
        asked = values.get("prescription", values)
        if not isinstance(asked, dict) or "duration_s" not in asked:
            raise ValueError(
                "no prescription in it, as in a listener's manifest; legal is its prescription.json"
            )
        found = Prescription.from_dict(asked)
        self._take(found)
        best_of = (values.get("sampling") or {}).get("best_of")
        if best_of is not None:
            self.best_of = SamplingConfig(best_of=best_of).best_of
        return found

    def _take(self, found: Prescription) -> None:
        self.goal = found.goal if found.goal in goal_names() else OWN_GOAL
        given = found.to_dict()
        own = {} if self.goal == OWN_GOAL else {"goal"}
        names = [name for name in CONTROLS if name not in own and name != "anchor"]
        self.edited = {name: given.get(name) for name in names}
        self.anchor = FROM_FILE if found.anchor else NO_ANCHOR
        self.anchor_motif = found.anchor.to_dict() if found.anchor else None


def _kept(edited: Mapping[str, Any]) -> dict[str, Any]:
    """What another goal leaves as it is: which take, and how loud."""
    return {name: edited[name] for name in ("seed", "playback_db_spl") if name in edited}


def _numbers(text: str) -> list[Any]:
    """Numbers with commas between them, or what is not a number, to be refused."""
    parts = [part.strip() for part in str(text).split(",")]
    return [float(part) if _is_float(part) else part for part in parts]


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---------------------------------------------------------------- as the forms show it


def shown(asking: Asking, prescription: Prescription) -> dict[str, Any]:
    """The values of the asking form: of what would be composed."""
    values = {name: _plain(getattr(prescription, name)) for name in CONTROLS}
    at = prescription.anchor_at
    return values | {
        "goal": asking.goal,
        "minutes": round(prescription.duration_s / 60, 4),
        "anchor": asking.anchor,
        "anchor_seed": asking.anchor_seed,
        "anchor_at": ", ".join(f"{share:g}" for share in at) if at else None,
        "takes": str(asking.takes),
        "best_of": str(asking.best_of),
    }


def _plain(value: Any) -> Any:
    match value:
        case Curve():
            return [list(point) for point in value.points]
        case tuple():
            return list(value)
    return value


def entered(asking: Asking, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as entered, where they cannot be asked, over those that last could."""
    found = dict(values)
    for name, value in asking.edited.items():
        if name == "duration_s":
            found["minutes"] = None if value is None else round(value / 60, 4)
        elif name == "anchor_at":
            found[name] = None if value is None else ", ".join(map(str, value))
        elif CONTROLS[name].kind != "curve" or isinstance(value, list | None):
            found[name] = value
    chosen = {"goal": asking.goal, "anchor": asking.anchor, "anchor_seed": asking.anchor_seed}
    return found | chosen | {"takes": str(asking.takes), "best_of": str(asking.best_of)}


def marks(asking: Asking, prescription: Prescription, plan: ListeningPlan | None) -> dict[str, Any]:
    """Mark of evidence and reason of each control that is the preset's or the listener's own."""
    if asking.goal == OWN_GOAL:
        return {}
    preset = prescribe(asking.goal, prescription.duration_s)
    known = evidence(asking.goal)
    found: dict[str, Any] = {"goal": [known.strength, ""]}
    for name in CONTROLS:
        parameter = known.parameter(name)
        place = "minutes" if name == "duration_s" else name
        if name in asking.edited and getattr(prescription, name) != getattr(preset, name):
            found[place] = ["own", "Your choice."]
        elif parameter is not None:
            sources = f" ({'; '.join(parameter.citations)})" if parameter.citations else ""
            reason = f"{parameter.reason[:1].upper()}{parameter.reason[1:]}"
            found[place] = [parameter.strength, f"{reason}{sources}."]
    for change in plan.changes if plan else ():
        found[change.control] = [change.strength, f"For the listener: {change.reason}."]
    return found


def place_of(error: ValueError) -> str | None:
    """The field that an error is about."""
    if isinstance(error, ScreenError):
        return None
    first = str(error).split(" ", 1)[0].rstrip(":")
    if first == "duration_s":
        return "minutes"
    return first if first in CONTROLS or first in LISTENER_FIELDS or first == "override" else None


def known_as() -> dict[str, str]:
    """What the safety screen calls by name, as the page calls it."""
    goals = {f"goal {name!r}": f"“{evidence(name).title}”" for name in goal_names()}
    return goals | {name: name.replace("_", " ") for name in items()}


def said(error: ValueError) -> str:
    """An error in the words of the page."""
    text = str(error)
    if isinstance(error, ScreenError):
        text = text.partition("; legal is override=")[0]
        for name, title in known_as().items():
            text = text.replace(name, title)
        more = " A clinician may decide otherwise: write who and why under the safety screen."
        return f"The safety screen stands against it: {text}.{more if error.overridable else ''}"
    if text.startswith("duration_s"):
        text = text.replace("duration_s", "length in seconds", 1)
    return text
