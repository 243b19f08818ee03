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
from sonicrx_ml.screening import LEGAL_OVERRIDE, items
from sonicrx_ml.session import FIGURES, STOPPED

OWN_GOAL = "own"
NO_ANCHOR, COMPOSED, FROM_FILE = "none", "composed", "file"

Field = dict[str, Any]
Group = dict[str, Any]


def _group(title: str, *fields: Field, folded: bool | None = None, help: str = "") -> Group:
    group: Group = {"title": title, "fields": list(fields), "help": help}
    return group if folded is None else group | {"folded": folded}


def _field(kind: str, name: str, label: str, hint: str = "", **more: Any) -> Field:
    return {"kind": kind, "name": name, "label": label, "hint": hint} | more


def _plain(
    name: str, label: str, unit: str, low: float, high: float, hint: str, opened: bool | str = False
) -> Field:
    """A number without a slider; `opened`: what an empty one stands for."""
    return _field("number", name, label, hint, unit=unit, low=low, high=high, step=1,
                  slider=None, open=opened)  # fmt: skip


def _number(
    name: str,
    label: str,
    hint: str = "",
    slider: tuple[float, float] | None = None,
    step: float = 1,
) -> Field:
    known = CONTROLS[name]
    said = f"{hint or _sentence(known.meaning)} {known.range}."
    plain = _plain(name, label, known.unit, known.low, known.high, said, known.default is None)
    return plain | {"slider": slider, "step": step}


def _curve(
    name: str, label: str, step: float, usual: float, view: tuple[float, float], hint: str = ""
) -> Field:
    """`usual`: level of a new curve; `view`: what is drawn where the points need no more."""
    known = CONTROLS[name]
    said = f"{hint or _sentence(known.meaning)} {known.range} {known.unit}".strip()
    return _field("curve", name, label, f"{said}.", unit=known.unit, low=known.low,
                  high=known.high, step=step, usual=usual, view=view)  # fmt: skip


def _choice(
    name: str, label: str, options: list[tuple[str, str]], opened: str | bool = True, hint: str = ""
) -> Field:
    return _field("choice", name, label, hint, options=options, open=opened)


def _sounds(
    name: str, label: str, groups: list[tuple[str, list[tuple[str, str]]]], hint: str, **more: Any
) -> Field:
    return _field("sounds", name, label, hint, options=groups, **more)


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _said(name: str) -> str:
    return name.replace("_", " ")


def _of_family(family: str) -> list[tuple[str, str]]:
    return [(name, _said(name)) for name, (_, of) in PALETTE.items() if of == family]


def _unwanted(family: str) -> list[tuple[str, str]]:
    """All of a family, and each of it: the name of a family stands for all that is in it."""
    return [(family, "all"), *(found for found in _of_family(family) if found[0] != family)]


def _same(names: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(name, _said(name)) for name in names]


# ---------------------------------------------------------------- what is asked


def asking() -> list[Group]:
    """The goal and every control."""
    goals = [(name, evidence(name).title) for name in goal_names()]
    hint = "Of the whole track, final silence included. 2 is enough for a first impression."
    minutes = _plain("minutes", "Length", "minutes", 0.17, 120, hint)
    minutes |= {"slider": (0.5, 60), "step": 0.5}
    return [
        _group(
            "",
            _choice("goal", "Goal", [*goals, (OWN_GOAL, "A goal of my own")], False,
                    "Choosing a goal fills every control; all of them can be changed."),
            minutes,
        ),
        _group(
            "Music",
            _curve("tempo", "Tempo", 1, 72, (40, 140), "Felt beats a minute. Drag the points, or "
                   "choose one and use the arrow keys; double-click adds one."),
            _curve("energy", "Energy", 0.01, 0.4, (0, 1), "Pace, loudness, staccato and register "
                   "together. Changing it opens density and articulation."),
            _choice("key", "Key", _same(TONICS)),
            _choice("mode", "Mode", _same(MODES)),
            _sounds("instruments", "Instruments",
                    [(family, _of_family(family)) for family in FAMILIES],
                    "One of each family; the first one ticked leads. ▶ plays a few notes.",
                    hear=True, single=True),
        ),
        _group(
            "Breathing and course",
            _curve("breaths_per_min", "Breathing", 0.5, 6, (4, 16),
                   "Rate at which the loudness swells."),
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
            _choice("anchor", "Anchor", [(NO_ANCHOR, "none"), (COMPOSED, "composed from a number"),
                                         (FROM_FILE, "from a file")],
                    "the profile's, where it has one",
                    "A motif that returns in every track it is asked for. Experimental: there is "
                    "no direct trial."),
            _plain("anchor_seed", "Number of the motif", "", 0, 2**31 - 1,
                   "The same number is the same motif."),
            _field("file", "anchor_file", "File of the motif",
                   "MIDI with a melody of 2 to 8 bars, or JSON.", accept=".mid,.midi,.json"),
            _field("text", "anchor_at", "Where it begins",
                   "Shares of the music up to 1, or seconds, with commas.",
                   placeholder=", ".join(f"{share:g}" for share in DEFAULT_AT)),
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
            _choice("takes", "Takes to compare", [("1", "one"), ("2", "two, side by side")], False),
            _choice("best_of", "Tries for each phrase", _same(("1", "2", "4", "8")), False,
                    "The try that is nearest to what is asked goes on: more takes longer."),
            folded=True,
        ),
    ]  # fmt: skip


def again() -> list[Group]:
    """Where a manifest is given."""
    manifest = _field(
        "file", "manifest", "Make this again",
        "manifest.json or prescription.json of a track: fills every control as it was.",
        accept=".json",
    )  # fmt: skip
    return [_group("Make a track again", manifest, folded=True)]


# ---------------------------------------------------------------- who listens


def listener() -> list[Group]:
    """A profile under a pseudonym; it stays in this tab of the browser."""
    measures = [
        _plain(name, _figure(name), known.unit, known.low, known.high,
               f"{_sentence(known.meaning)} {known.low:g} to {known.high:g}.", "not known")
        for name, known in MEASURES.items()
    ]  # fmt: skip
    answers = [(True, "yes"), (False, "no"), (None, "not asked")]
    questions = [
        _field("radio", name, item.question, options=answers) for name, item in items().items()
    ]
    instruments = [(family, _of_family(family)) for family in FAMILIES]
    unwanted = [(family, _unwanted(family)) for family in FAMILIES]
    override = _field(
        "text", "override", "A clinician's override",
        f"Who and why: {LEGAL_OVERRIDE}. It is recorded.", placeholder="Dr B: present throughout",
    )  # fmt: skip
    return [
        _group(
            "Pseudonym and measures",
            _field("file", "profile", "Open a profile", "Of an earlier visit.", accept=".json"),
            _field("text", "id", "Pseudonym", "Letters and digits, one digit at least; never a "
                   "name. Without one, nothing is fitted to a listener or screened, and the label "
                   "says so.", placeholder="P07"),
            *measures,
            folded=True,
            help="A profile stays in this tab of the browser, unless you save it.",
        ),
        _group(
            "Likes and dislikes",
            _sounds("likes", "Likes", instruments, _sentence(SOUNDS["likes"]), folded=True),
            _sounds("dislikes", "Dislikes", unwanted, _sentence(SOUNDS["dislikes"]), folded=True),
            _sounds("trigger_sounds", "Trigger sounds", unwanted,
                    _sentence(SOUNDS["trigger_sounds"]), folded=True),
            folded=True,
            help="Preference and choice matter more than features in sleep and pain.",
        ),
        _group("Safety screen", *questions, override, folded=True,
               help="What is not answered counts as something a clinician must decide."),
    ]  # fmt: skip


# ---------------------------------------------------------------- how it went


def session() -> list[Group]:
    """Before and after in two clicks; the third one saves."""
    scale = [(float(n), str(n)) for n in range(11)]
    first = [
        _field("radio", f"suds_{when}", f"Distress {when} (SUDS)", "0 none, 10 the worst.",
               options=scale)
        for when in ("before", "after")
    ]  # fmt: skip
    more = [
        _plain(name, _figure(name), known.unit, known.low, known.high,
               f"{_sentence(known.meaning)} {known.low:g} to {known.high:g}.", "not measured")
        for name, known in FIGURES.items() if not name.startswith("suds")
    ]  # fmt: skip
    stopped = _choice("stopped", "Why it stopped", _same(STOPPED), False)
    return [
        _group("Before and after", *first),
        _group("More about the session", stopped, *more, folded=True,
               help="Minutes and level are filled in from the track that is kept."),
    ]  # fmt: skip


def _figure(name: str) -> str:
    """A name as a label: `rmssd_before` is RMSSD before."""
    first, _, last = name.replace("_db_spl", "").partition("_")
    named = {"vas": "VAS", "stai6": "STAI-6", "rmssd": "RMSSD"}.get(first, first.capitalize())
    return f"{named} {last.replace('_', ' ')}".strip()
