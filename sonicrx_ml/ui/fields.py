"""The forms of the page as data: groups of fields, each with its kind, unit, range and hint.

Ranges come from where they are checked: `prescription.CONTROLS`, `listener.MEASURES`,
`session.FIGURES` and the questions of `screening`.
"""

from __future__ import annotations

from typing import Any

from sonicrx_ml.anchor import DEFAULT_AT
from sonicrx_ml.goals import evidence, goal_names
from sonicrx_ml.listener import MEASURES, SOUNDS
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.prescription import CONTROLS, METERS, MODES, TONICS
from sonicrx_ml.screening import LEGAL_OVERRIDE, items, sounds
from sonicrx_ml.session import FIGURES, STOPPED

OWN_GOAL = "own"
NO_ANCHOR, COMPOSED, FROM_FILE = "none", "composed", "file"

Field = dict[str, Any]
Group = dict[str, Any]


def _group(title: str, *fields: Field, folded: bool | None = None, help: str = "") -> Group:
    group: Group = {"title": title, "fields": list(fields), "help": help}
    return group if folded is None else group | {"folded": folded}


def _number(name: str, label: str, hint: str = "", slider: tuple[float, float] | None = None,
            step: float = 1) -> Field:  # fmt: skip
    control = CONTROLS[name]
    return {
        "kind": "number", "name": name, "label": label, "unit": control.unit, "low": control.low,
        "high": control.high, "step": step, "slider": slider, "open": control.default is None,
        "hint": f"{hint or _sentence(control.meaning)} {control.range}.",
    }  # fmt: skip


def _curve(name: str, label: str, step: float, usual: float, view: tuple[float, float],
           hint: str = "") -> Field:  # fmt: skip
    control = CONTROLS[name]
    return {
        "kind": "curve", "name": name, "label": label, "unit": control.unit, "low": control.low,
        "high": control.high, "step": step, "usual": usual, "view": view,
        "hint": f"{hint or _sentence(control.meaning)} {control.range} {control.unit}".strip() + ".",
    }  # fmt: skip


def _choice(name: str, label: str, options: list[tuple[str, str]], opened: str | bool = True,
            hint: str = "") -> Field:  # fmt: skip
    return {"kind": "choice", "name": name, "label": label, "options": options, "open": opened,
            "hint": hint}  # fmt: skip


def _sounds(name: str, label: str, groups: list[tuple[str, list[tuple[str, str]]]],
            **more: Any) -> Field:  # fmt: skip
    return {"kind": "sounds", "name": name, "label": label, "options": groups, "hint": "", **more}


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _said(name: str) -> str:
    return name.replace("_", " ")


def _of_family(family: str) -> list[tuple[str, str]]:
    return [(name, _said(name)) for name, (_, of) in PALETTE.items() if of == family]


def _same(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, _said(name)) for name in names]


# ---------------------------------------------------------------- what is asked


def asking() -> list[Group]:
    """The goal and every control."""
    goals = [(name, evidence(name).title) for name in goal_names()]
    minutes: Field = {
        "kind": "number", "name": "minutes", "label": "Length", "unit": "minutes", "low": 0.17,
        "high": 120, "step": 0.5, "slider": (0.5, 60), "open": False,
        "hint": "Of the whole track, final silence included. 2 is enough for a first impression.",
    }  # fmt: skip
    return [
        _group(
            "",
            _choice("goal", "Goal", [*goals, (OWN_GOAL, "A goal of my own")], False,
                    "Choosing a goal fills every control; all of them can be changed."),
            minutes,
        ),
        _group(
            "Music",
            _curve("tempo", "Tempo", 1, 72, (40, 130), "Felt beats a minute. Drag the points, or choose one "
                   "and use the arrow keys; double-click adds one."),
            _curve("energy", "Energy", 0.01, 0.4, (0, 1), "Pace, loudness, staccato and register together. "
                   "Changing it opens density and articulation."),
            _choice("key", "Key", _same(TONICS)),
            _choice("mode", "Mode", _same(MODES)),
            _sounds("instruments", "Instruments",
                    [(family, _of_family(family)) for family in FAMILIES],
                    hear=True, single=True,
                    hint="One of each family; the first one ticked leads. ▶ plays a few notes."),
        ),
        _group(
            "Breathing and course",
            _curve("breaths_per_min", "Breathing", 0.5, 6, (3, 16), "Rate at which the loudness swells."),
            _number("breath_depth_db", "Depth of a breath", "From trough to crest.", (1, 12), 0.5),
            _number("inhale_share", "Breathing in", "Share of a breath in which it swells.",
                    (0.2, 0.8), 0.05),
            _choice("strategy", "Strategy", [("iso", "iso: glide from where the listener is"),
                                             ("direct", "direct: the target at once")],
                    hint="In a pre-registered study the two did equally well."),
            _choice("arc", "Arc", [("build_release", "build up and release")], "none"),
            _number("arc_peak", "Peak of the arc", "Share of the music.", (0.3, 0.9), 0.05),
            _number("final_silence_s", "Silence at the end", "", (0, 120), 5),
            folded=True,
        ),
        _group(
            "Auditory anchor",
            _choice("anchor", "Anchor", [(COMPOSED, "composed from a number"),
                                         (FROM_FILE, "from a file")], "none",
                    "A motif that returns in every track it is asked for. Experimental: there is "
                    "no direct trial."),
            {"kind": "number", "name": "anchor_seed", "label": "Number of the motif", "unit": "",
             "low": 0, "high": 2**31 - 1, "step": 1, "slider": None, "open": False,
             "hint": "The same number is the same motif."},
            {"kind": "file", "name": "anchor_file", "label": "File of the motif",
             "accept": ".mid,.midi,.json", "hint": "MIDI with a melody of 2 to 8 bars, or JSON."},
            {"kind": "text", "name": "anchor_at", "label": "Where it begins",
             "placeholder": ", ".join(f"{share:g}" for share in DEFAULT_AT),
             "hint": "Shares of the music up to 1, or seconds, with commas."},
            folded=True,
        ),
        _group(
            "Texture",
            _choice("meter", "Meter", _same(METERS)),
            _curve("density", "Density", 0.1, 1.5, (0.2, 5)),
            _curve("polyphony", "Polyphony", 0.1, 2.5, (1, 6)),
            _curve("register", "Register", 1, 60, (40, 84)),
            _curve("articulation", "Articulation", 0.01, 0.9, (0.2, 1)),
            _curve("chromaticism", "Chromaticism", 0.01, 0.02, (0, 0.2)),
            folded=True,
        ),
        _group(
            "Level and takes",
            _number("playback_db_spl", "Playback level", "Of a track of -23 LUFS at the ear.",
                    (40, 85)),
            _number("target_lufs", "Loudness of the file", "", (-40, -14)),
            _number("seed", "Take number", "The same number and the same controls give the same "
                    "notes."),
            {"kind": "choice", "name": "takes", "label": "Takes to compare",
             "options": [("1", "one"), ("2", "two, side by side")], "open": False, "hint": ""},
            {"kind": "choice", "name": "best_of", "label": "Tries for each phrase",
             "options": [(str(n), str(n)) for n in (1, 2, 4, 8)], "open": False,
             "hint": "The try that is nearest to what is asked goes on: more takes longer."},
            folded=True,
        ),
    ]  # fmt: skip


def again() -> list[Group]:
    """Where a manifest is given."""
    manifest: Field = {
        "kind": "file", "name": "manifest", "label": "Make this again", "accept": ".json",
        "hint": "manifest.json or prescription.json of a track: fills every control as it was.",
    }  # fmt: skip
    return [_group("Make a track again", manifest, folded=True)]


# ---------------------------------------------------------------- who listens


def listener() -> list[Group]:
    """A profile under a pseudonym; it stays in this tab of the browser."""
    measures = [
        {"kind": "number", "name": name, "label": _sentence(_said(name))[:-1].replace(" db spl", ""),
         "unit": known.unit, "low": known.low, "high": known.high, "step": 1, "slider": None,
         "open": "not known", "hint": f"{_sentence(known.meaning)} {known.low:g} to {known.high:g}."}
        for name, known in MEASURES.items()
    ]  # fmt: skip
    answers = [(True, "yes"), (False, "no"), (None, "not asked")]
    questions = [
        {"kind": "radio", "name": name, "label": item.question, "options": answers, "hint": ""}
        for name, item in items().items()
    ]
    instruments = [("", [(name, _said(name)) for name in PALETTE])]
    unwanted = [("", [(name, _said(name)) for name in sounds()])]
    return [
        _group(
            "Listener",
            {"kind": "file", "name": "profile", "label": "Open a profile", "accept": ".json",
             "hint": "Of an earlier visit."},
            {"kind": "text", "name": "id", "label": "Pseudonym", "placeholder": "P07",
             "hint": "Letters and digits, one digit at least; never a name. Without one, nothing is "
             "fitted to a listener or screened, and the label says so."},
            *measures,
            _sounds("likes", "Likes", instruments, hint=_sentence(SOUNDS["likes"])),
            _sounds("dislikes", "Dislikes", unwanted, hint=_sentence(SOUNDS["dislikes"])),
            _sounds("trigger_sounds", "Trigger sounds", unwanted,
                    hint=_sentence(SOUNDS["trigger_sounds"])),
            folded=True,
            help="A profile stays in this tab of the browser, unless you save it.",
        ),
        _group("Safety screen", *questions, {
            "kind": "text", "name": "override", "label": "A clinician's override",
            "placeholder": "Dr B: present throughout", "hint": f"Who and why: {LEGAL_OVERRIDE}. It is "
            "recorded.",
        }, folded=True, help="What is not answered counts as something a clinician must decide."),
    ]  # fmt: skip


# ---------------------------------------------------------------- how it went


def session() -> list[Group]:
    """Before and after in two clicks; the third one saves."""
    scale = [(float(n), str(n)) for n in range(11)]
    first = [
        {"kind": "radio", "name": f"suds_{when}", "label": f"Distress {when} (SUDS)",
         "options": scale, "hint": "0 none, 10 the worst."}
        for when in ("before", "after")
    ]  # fmt: skip
    rest = [name for name in FIGURES if not name.startswith("suds")]
    more: list[Field] = []
    for name in rest:
        low, high, unit, meaning = FIGURES[name]
        more.append(
            {"kind": "number", "name": name, "label": _figure(name), "unit": unit, "low": low,
             "high": high, "step": 1, "slider": None, "open": "not measured",
             "hint": f"{_sentence(meaning)} {low:g} to {high:g}."}
        )  # fmt: skip
    stopped = _choice("stopped", "Why it stopped", _same(STOPPED), False)
    return [
        _group("Before and after", *first),
        _group("More about the session", stopped, *more, folded=True,
               help="Minutes and level are filled in from the track that is kept."),
    ]  # fmt: skip


def _figure(name: str) -> str:
    """A figure's name as a label: `rmssd_before` is RMSSD before."""
    first, _, last = name.replace("_db_spl", "").partition("_")
    named = {"vas": "VAS", "stai6": "STAI-6", "rmssd": "RMSSD"}.get(first, first.capitalize())
    return f"{named} {last.replace('_', ' ')}".strip()
