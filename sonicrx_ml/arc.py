"""Build and release: what is asked of a piece rises to a peak, and comes to rest after it.

Density, register and loudness rise together, faster and faster, from where they are asked to be to
the peak, stay there for a bar, and fall about as steeply as they rose; in the phrase before it the
harmony may leave the scale, and the peak resolves it. Where the curves below move so much that the
arc would not be their highest point, it is raised above them. The arc is laid over curves, so it is
judged by them, and by where its peak is (`tolerances`). At the peak there is an appoggiatura. Music
for reward: expectation, then release; nothing is claimed of what it does to a listener.

Energy is the arousal model's (`emotion`), so the energy of the arc is that of its density, register
and loudness. All amounts are engineering choices [E].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import emotion
from sonicrx_ml.curve import Curve, knots

ARCS = ("build_release",)
LEGATO = 0.9  # articulation, where open
BARS = 4  # that it takes at least
PEAK = 0.7  # share of the music, where it is open
DENSER = 1.6  # times the density at the peak
HIGHER = 5.0  # semitones at the peak
LOUDER = 6.0  # dB at the peak
FREER = 0.08  # share of note time outside the scale, in the phrase before the peak
ABOVE = 0.5  # of what the arc adds, by which its peak is above all else at least
STEEPER = 3  # power of the time up to the peak by which the arc rises
STEPS = 8  # knots of the rise
RELEASE = 0.8  # of the time after the peak, at most
REST = {"energy": 0.3, "register": 62.0, "chromaticism": 0.02}  # where open


def raised(
    asked: Mapping[str, Curve | None], peak: float, bar: float, phrase: float
) -> dict[str, Curve]:
    """The curves of `asked`, by the names of their controls, with the arc laid over them.

    Register, energy and chromaticism are filled in where they are open; density where it is open
    follows from the energy. All shares of the music: `peak` is where the peak's bar begins, `bar`
    is its length, and `phrase` what leads to it.
    """
    arc = _arc(peak, bar)
    start = max(peak - phrase, peak / 2.0)
    tension = Curve(
        ((0.0, 0.0), (start, 0.0), ((start + 3 * peak) / 4, 1.0), (peak, 0.0), (1.0, 0.0))
    )
    found = {
        "energy": _topped(_energy(asked), arc, peak, energy_gain()),
        "register": _topped(_base(asked, "register"), arc, peak, HIGHER),
        "chromaticism": _plus(_base(asked, "chromaticism"), tension, FREER),
    }
    density = asked["density"]
    if density is not None:
        log = _curve(at := knots(density, arc), np.log(density(at)))
        log = _topped(log, arc, peak, float(np.log(DENSER)))
        found["density"] = _curve(at, np.exp(log(at)))
    return found


def _arc(peak: float, bar: float) -> Curve:
    """From 0 to 1 and back: up to the peak, through its bar, and down again."""
    up = np.linspace(0.0, 1.0, STEPS + 1)
    held = min(peak + bar, (1.0 + peak) / 2)
    rest = held + min(peak / STEEPER, RELEASE * (1.0 - held))
    rise = zip((up * peak).tolist(), (up**STEEPER).tolist(), strict=True)
    return Curve((*rise, (held, 1.0), (rest, 0.0), (1.0, 0.0)))


def energy_gain() -> float:
    """Energy at the peak over that without an arc."""
    centre = emotion.CENTRE_ONSETS, 0.0, 1.0, emotion.CENTRE_REGISTER
    peak = centre[0] * DENSER, LOUDER, 1.0, centre[3] + HIGHER
    return float(emotion.energy(*peak) - emotion.energy(*centre))


def _energy(asked: Mapping[str, Curve | None]) -> Curve:
    """Energy as asked, or that of the asked density and articulation at medium loudness."""
    density, articulation = asked["density"], asked["articulation"]
    if asked["energy"] is not None or density is None:
        return _base(asked, "energy")
    legato, register = articulation or Curve.of(LEGATO), _base(asked, "register")
    at = knots(density, legato, register)
    energy = emotion.energy(density(at), 0.0, legato(at), register(at))
    return _curve(at, energy.clip(0.0, 1.0))


def _base(asked: Mapping[str, Curve | None], name: str) -> Curve:
    return asked[name] or Curve.of(REST[name])


def _topped(base: Curve, arc: Curve, peak: float, gain: float) -> Curve:
    """With the arc on it, whose peak is above all of the base by `ABOVE` of the gain at least."""
    highest = max(value for _, value in base.points)
    return _plus(base, arc, max(gain, highest + ABOVE * gain - float(base(peak))))


def _plus(base: Curve, shape: Curve, amount: float) -> Curve:
    at = knots(base, shape)
    return _curve(at, base(at) + amount * shape(at))


def _curve(at: NDArray[np.float64], values: NDArray[np.float64]) -> Curve:
    return Curve(tuple(zip(at.tolist(), values.tolist(), strict=True)))
