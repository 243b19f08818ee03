"""What a page may say of a listener: the pseudonym, warnings, what was changed, who allowed it.

A page travels further than a profile. The reasons of a `ListeningPlan` quote the profile (a heart
rate, a dislike, an answer to the screen), for whoever has it before them; a page has these general
ones in their place, and of several changes to a control only the first and the last value.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

from sonicrx_ml.anchor import Motif
from sonicrx_ml.curve import Curve
from sonicrx_ml.fitting import Change, ListeningPlan
from sonicrx_ml.page import shown

#: Why a control differs from the preset, without a fact of the person.
REASONS = {
    "tempo": "from the listener's own pace",
    "density": "as many notes a beat as before",
    "energy": "the same loudness and articulation at this pace",
    "mode": "valence is never forced",
    "anchor": "the listener's own; experimental, no direct trial",
    "instruments": "without what must not sound; what is liked leads",
    "playback_db_spl": "no louder than is safe",
    "target_lufs": "no louder than is safe",
    "max_sharpness_acum": "no sharper than is borne",
}
MOST_LEVELS = 4  # of a curve that are told one by one


def changes(plan: ListeningPlan) -> tuple[Change, ...]:
    """One change for each control that differs, with a general reason, all marks and sources."""
    found: dict[str, Change] = {}
    for change in plan.changes:
        name, first = change.control, found.get(change.control, change)
        reasons = [found[name].reason] if name in found else []
        reasons.append(change.general or REASONS[name])
        found[name] = replace(
            change,
            before=first.before,
            reason="; ".join(dict.fromkeys(reasons)),
            strength="/".join(dict.fromkeys([*first.strength.split("/"), change.strength])),
            citations=tuple(dict.fromkeys([*first.citations, *change.citations])),
        )
    return tuple(found.values())


def told(value: Any) -> str:
    """A control's value in words; an open one is "open"."""
    if value is None:
        return "open"
    if isinstance(value, Motif):
        return str(value)
    if isinstance(value, tuple):
        return ", ".join(shown(part).replace("_", " ") for part in value)
    return _levels(value) if isinstance(value, Curve) else shown(value)


def _levels(curve: Curve) -> str:
    """Its levels in order, or the range of a curve of many."""
    levels = [level for _, level in curve.points]
    turns = [name for name, _ in itertools.groupby(map(shown, levels))]
    if len(turns) <= MOST_LEVELS:
        return " → ".join(turns)
    return f"{shown(min(levels))} to {shown(max(levels))}"
