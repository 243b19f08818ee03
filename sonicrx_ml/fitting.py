"""From a goal to a person: the preset fitted to a listener, and why it differs.

A listener changes the pace, the instruments and the level, and the safety screen lets a goal pass
or not. Every change says why, with its mark, for the person's own label and report. A manifest may
have no more than `ListeningPlan.record`: the pseudonymous id, and that there was an override.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from sonicrx_ml import emotion
from sonicrx_ml.anchor import Motif
from sonicrx_ml.curve import Curve, is_number
from sonicrx_ml.goals import Fit, evidence, prescribe
from sonicrx_ml.listener import Listener
from sonicrx_ml.palette import FAMILIES, FAMILY_OF_PROGRAM, PALETTE
from sonicrx_ml.prescription import CONTROLS, OPEN_INSTRUMENTS, REFERENCE_LUFS, Prescription
from sonicrx_ml.screening import Item, Override, like, permit, screen

STEPS = (5.0, 10.0)  # percent by which the cadence is raised (evidence as for the cadence)
STEP_AT = (1 / 3, 1 / 3 + 0.001)  # where it is raised: after a third of the music, at once [E]
ANCHOR_REASON = "the listener's motif returns; experimental: there is no direct trial"
MOST_PLAYING = 4  # as in the fullest preset [E]
OWN = "own"  # in the place of breaths a minute: a share of the listener's own rate
OWN_BREATHS = 0.75  # Leslie et al. 2019


@dataclass(frozen=True, slots=True)
class Change:
    """A control that differs from the preset because of the listener; None is open."""

    control: str
    before: Any
    after: Any
    reason: str
    strength: str
    citations: tuple[str, ...] = ()
    general: str | None = None
    """The reason without a fact of the person; None: as `personal.REASONS`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListeningPlan:
    """A prescription for one listener: what was changed and why, what to warn of, who allowed it.

    Changes and warnings are for the person's own label and report; `record` is all that a manifest
    may have.
    """

    listener: str
    """The pseudonymous id."""
    prescription: Prescription
    changes: tuple[Change, ...]
    warnings: tuple[str, ...]
    override: Override | None

    def record(self) -> dict[str, Any]:
        """Pseudonym, and whether there was an override: who and why may tell of a person."""
        return {"id": self.listener, "override": self.override is not None}

    def summary(self) -> str:
        """Changes and warnings, a line each."""
        lines = [f"for listener {self.listener}:"]
        for change in self.changes:
            sources = "; ".join((change.strength, *change.citations))
            before, after = shown(change.before), shown(change.after)
            lines.append(f"  {change.control} {before} -> {after}: {change.reason} [{sources}]")
        return "\n".join([*lines, *(f"  ! {warning}" for warning in self.warnings)])


def label(prescription: Prescription, plan: ListeningPlan | None) -> str:
    """A file name: goal and id; before them the pseudonym, so that no two listeners share it."""
    return f"{plan.listener}-{prescription.label}" if plan else prescription.label


def shown(value: Any) -> str:
    """A control's value in short; an open one is "open"."""
    if isinstance(value, Curve):
        value = value.to_json()
    if isinstance(value, tuple):
        return ", ".join(value)
    return "open" if value is None else f"{value}"


def prescribe_for(
    listener: Listener,
    goal: str,
    duration_s: float | None = None,
    *,
    override: str | None = None,
    step_percent: float | None = None,
    **controls: Any,
) -> ListeningPlan:
    """The preset of a goal, fitted to a listener; controls replace the preset's own.

    override : "who: why" of the clinician who lets a goal pass the screen.
    step_percent : raise the beat above the cadence after a third of the music, by 5 to 10 %.

    The listener's anchor returns, unless another `anchor`, or None for none, is given. Of
    `breaths_per_min="own"` three quarters of the listener's breathing rate become.
    A tempo or mode that was asked for stays; what must not sound does not, and no level is above
    what is safe, whoever asks. Raises `ScreenError` where the screen stands against the goal, and
    `ValueError` where nothing is left that may sound or a value is illegal.
    """
    allowed = permit(listener.screening, goal, listener.id, override)
    own = {} if "anchor" in controls else _own_anchor(listener)
    breathing = [_own_breaths(listener)] if controls.get("breaths_per_min") == OWN else []
    controls |= {change.control: change.after for change in breathing}
    asked = prescribe(goal, duration_s, **own, **controls)
    fitted = (
        *_returning(own),
        *breathing,
        *_paced(listener, goal, asked, step_percent, controls.keys()),
    )
    return _safe(listener, asked, allowed, fitted, controls.keys())


def screened(
    listener: Listener,
    prescription: Prescription,
    *,
    override: str | None = None,
    anchored: bool = False,
    own_breaths: bool = False,
) -> ListeningPlan:
    """Any prescription for a goal, held to what is safe for a listener; its pace is left alone.

    For what was not made by `prescribe_for`: a suggestion, a file. What must not sound leaves, no
    level is above what is safe, and a mode that is only the preset's is left open where valence
    must not be forced. Raises as `prescribe_for` does, and for a prescription without a known goal.

    anchored : the listener's anchor returns where the prescription has none.
    own_breaths : the breaths to pace become the listener's own, as of `prescribe_for`.
    """
    goal = prescription.goal or "none"
    allowed = permit(listener.screening, goal, listener.id, override)
    preset = evidence(goal).parameter("mode")
    own_mode = preset is None or prescription.mode != preset.value
    given = {"instruments", *(["mode"] if own_mode else [])}
    returns = _own_anchor(listener) if anchored and prescription.anchor is None else {}
    breathing = [_own_breaths(listener, prescription.breaths_per_min)] if own_breaths else []
    return _safe(listener, prescription, allowed, (*_returning(returns), *breathing), given)


def refuse_given(listener: Listener, goal: str, programs: Iterable[int]) -> None:
    """Raise `ValueError` where music that is to be kept has what must not sound for a listener.

    programs : General MIDI programs that play in it. Where a whole family must not sound, neither
        may the programs of it that have no name in the palette.
    """
    barred = _barred(listener, screen(listener.screening, goal))
    named = {PALETTE[name][0]: name for name in barred}
    heard = {family for name, (_, family) in PALETTE.items() if name not in barred}
    for program in programs:
        index = int(FAMILY_OF_PROGRAM[program])
        family = list(FAMILIES)[index] if index >= 0 else None
        name = named.get(program, None if family in heard else family)
        if name is not None:
            why = barred.get(name, "must not sound")
            raise ValueError(
                f"the given music plays {name}, which {why} for listener {listener.id}; legal is "
                "music without it"
            )


def _safe(
    listener: Listener,
    asked: Prescription,
    allowed: Override | None,
    fitted: tuple[Change, ...],
    given: Iterable[str],
) -> ListeningPlan:
    """The plan of what was asked, with what the screen and the listener forbid left out."""
    assert asked.goal is not None
    goal, given = asked.goal, tuple(given)
    found = screen(listener.screening, goal)
    changes = (
        *fitted,
        *_freed(goal, asked, found, given),
        *_seated(listener, asked, found, given),
        *_softened(listener, asked, found),
    )
    return ListeningPlan(
        listener=listener.id,
        prescription=replace(asked, **{change.control: change.after for change in changes}),
        changes=changes,
        warnings=tuple(dict.fromkeys([evidence(goal).caution, *(item.warning for item in found)])),
        override=allowed,
    )


def _own_anchor(listener: Listener) -> dict[str, Motif]:
    return {"anchor": listener.motif} if listener.motif else {}


def _returning(own: dict[str, Motif]) -> tuple[Change, ...]:
    return tuple(Change("anchor", None, motif, ANCHOR_REASON, "E") for motif in own.values())


def _own_breaths(listener: Listener, before: Curve | None = None) -> Change:
    """The breaths to pace by the listener's own rate."""
    rate, legal = listener.breathing_rate, CONTROLS["breaths_per_min"]
    if rate is None:
        raise ValueError(
            f"breaths_per_min {OWN!r}: no breathing_rate is known of listener {listener.id}; "
            f"legal is a rate, {legal.range}"
        )
    paced = min(max(OWN_BREATHS * rate, legal.low), legal.high)
    reason = (
        "three quarters of the listener's own rate: in one experiment loudness that breathed so "
        "slowed breathing more than at a fixed six a minute"
    )
    told = f"{reason} (measured {rate:g})"
    return Change("breaths_per_min", before, Curve.of(round(paced, 2)), told, "C",
                  ("Leslie 2019",), general=reason)  # fmt: skip


def _paced(
    listener: Listener,
    goal: str,
    asked: Prescription,
    step_percent: float | None,
    given: Iterable[str],
) -> list[Change]:
    """Tempo from the listener's baseline, and what keeps its share of the tempo."""
    tempo = evidence(goal).parameter("tempo")
    fit = tempo.listener if tempo else None
    baseline: float | None = getattr(listener, fit.baseline) if fit else None
    if step_percent is not None:
        _check_step(step_percent, fit, baseline, given)
    if fit is None or baseline is None or asked.tempo is None or "tempo" in given:
        return []
    curve, reason = fit.curve(asked.tempo, baseline), fit.reason
    if fit.held(baseline) != baseline:
        reason += f" (measured {baseline:g}, held at {fit.held(baseline):g})"
    if step_percent is not None:
        curve = _stepped(curve, step_percent)
        reason += f"; raised by {step_percent:g} % after a third"
    if curve == asked.tempo:
        return []
    change = Change("tempo", asked.tempo, curve, reason, fit.strength, fit.citations)
    density = evidence(goal).parameter("density")
    follows = density is not None and density.follows_tempo and "density" not in given
    return [change, *(_followed(asked, curve) if follows else [])]


def _check_step(
    step_percent: float, fit: Fit | None, baseline: float | None, given: Iterable[str]
) -> None:
    if not is_number(step_percent) or not STEPS[0] <= step_percent <= STEPS[1]:
        raise ValueError(f"step_percent {step_percent!r}; legal are {STEPS[0]:g} to {STEPS[1]:g} %")
    if fit is None or fit.baseline != "cadence" or baseline is None or "tempo" in given:
        raise ValueError(
            f"step_percent {step_percent:g} has no cadence to raise; legal is goal motor for a "
            "listener whose cadence is known, without a tempo of its own"
        )


def _stepped(curve: Curve, percent: float) -> Curve:
    """A held tempo, raised after a third of the music."""
    low = curve.points[0][1]
    high = round(low * (1 + percent / 100), 6)
    before, after = STEP_AT
    return Curve(((0.0, low), (before, low), (after, high), (1.0, high)))


def _followed(asked: Prescription, tempo: Curve) -> list[Change]:
    """As many notes a beat as before, and the energy that leaves their loudness what it was."""
    if asked.density is None:
        return []
    points = [point for point, _ in tempo.points]
    notes, beats = asked.density(points), asked.tempo_curve(points)
    faster = notes * tempo(points) / beats
    density = _curve(points, faster)
    changes = [Change("density", asked.density, density, "as many notes a beat as before", "E")]
    if asked.energy is not None:
        shift = emotion.energy(faster, 0, 1, 65) - emotion.energy(notes, 0, 1, 65)
        energy = _curve(points, (asked.energy(points) + shift).clip(0, 1))
        reason = "the same loudness and articulation at this pace"
        changes.append(Change("energy", asked.energy, energy, reason, "E"))
    return changes


def _curve(fractions: list[float], values: Any) -> Curve:
    points = [(x, round(float(v), 6)) for x, v in zip(fractions, values, strict=True)]
    return Curve(tuple(points))


def _freed(
    goal: str, asked: Prescription, found: Iterable[Item], given: Iterable[str]
) -> list[Change]:
    """The mode left open where valence must not be forced."""
    if asked.mode is None or "mode" in given or not any(goal in item.open_mode for item in found):
        return []
    return [Change("mode", asked.mode, None, "valence is never forced", "E")]


def _seated(
    listener: Listener, asked: Prescription, found: Iterable[Item], given: Iterable[str]
) -> list[Change]:
    """What must not sound leaves; liked instruments lead, in families of their own."""
    before = asked.instruments or OPEN_INSTRUMENTS
    barred, changes = _barred(listener, found), []
    for name in [name for name in before if name in barred]:
        after = tuple(other for other in before if other != name)
        changes.append(Change("instruments", before, after, f"{name} {barred[name]}", "E"))
        before = after
    liked = [] if "instruments" in given else [n for n in listener.likes if n not in barred]
    after = one_of_each_family([*liked, *before])[: max(MOST_PLAYING, len(before))]
    if after != before:
        reason = "liked instruments lead; preference matters more than features in sleep and pain"
        changes.append(Change("instruments", before, after, reason, "E"))
    if not after:
        left = ", ".join(name for name in PALETTE if name not in barred)
        raise ValueError(f"no instrument is left for listener {listener.id}; legal are {left}")
    return changes


def _barred(listener: Listener, found: Iterable[Item]) -> dict[str, str]:
    """Instruments that must not sound, and why."""
    screened_out = (name for item in found for name in item.never)
    return {
        instrument: "is kept out by the screen"
        for name in screened_out
        for instrument in like(name)
    } | listener.barred


def one_of_each_family(names: Iterable[str]) -> tuple[str, ...]:
    """The first instrument of every family, in the order given."""
    of_family: dict[str, str] = {}
    for name in names:
        of_family.setdefault(PALETTE[name][1], name)
    return tuple(of_family.values())


def _softened(listener: Listener, asked: Prescription, found: Iterable[Item]) -> list[Change]:
    """No louder than is safe for the listener, and no sharper."""
    caps = {item.max_playback_db_spl: f"{item.name} in the screen" for item in found}
    caps |= {listener.safe_level_db_spl: "the listener's own safe level"}
    legal = {level: why for level, why in caps.items() if level is not None}
    changes = _blunted(asked, found)
    if not legal:
        return changes
    lowest = min(legal)
    reason = f"no louder than is safe: {legal[lowest]}"
    if asked.playback_db_spl > lowest:
        changes.append(Change("playback_db_spl", asked.playback_db_spl, lowest, reason, "E"))
    # The playback level is that of a track at the reference loudness: a louder one sounds louder.
    if asked.target_lufs > REFERENCE_LUFS:
        changes.append(Change("target_lufs", asked.target_lufs, REFERENCE_LUFS, reason, "E"))
    return changes


def _blunted(asked: Prescription, found: Iterable[Item]) -> list[Change]:
    """The lowest sharpness that an item of the screen caps the sound at."""
    caps = {i.max_sharpness_acum: i.name for i in found if i.max_sharpness_acum is not None}
    lowest, now = min(caps, default=None), asked.max_sharpness_acum
    if lowest is None or (now is not None and now <= lowest):
        return []
    reason = f"no sharper than is borne: {caps[lowest]} in the screen"
    return [Change("max_sharpness_acum", now, lowest, reason, "E")]
