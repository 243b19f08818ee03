"""Build and release: what is asked of a piece rises to a peak, and comes to rest after it.

Density, register and loudness rise together from where they are asked to be, to the peak; in the
phrase before it the harmony may leave the scale, and the peak resolves it. The arc is laid over
curves, so it is judged by them. Music for reward: expectation, then release; nothing is claimed of
what it does to a listener.

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
PEAK = 0.7  # share of the music, where it is open
DENSER = 1.6  # times the density at the peak
HIGHER = 5.0  # semitones at the peak
LOUDER = 6.0  # dB at the peak
FREER = 0.08  # share of note time outside the scale, in the phrase before the peak
RELEASE = 0.6  # of the time after the peak
REST = {"energy": 0.3, "register": 62.0, "chromaticism": 0.02}  # where open


def raised(asked: Mapping[str, Curve | None], peak: float, phrase: float) -> dict[str, Curve]:
    """The curves of `asked`, by the names of their controls, with the arc laid over them.

    Register, energy and chromaticism are filled in where they are open; density where it is open
    follows from the energy. `phrase` is the share of the music that leads to the peak.
    """
    rest = peak + RELEASE * (1.0 - peak)
    arc = Curve(((0.0, 0.0), (peak, 1.0), (rest, 0.0), (1.0, 0.0)))
    start = max(peak - phrase, peak / 2.0)
    tension = Curve(
        ((0.0, 0.0), (start, 0.0), ((start + 3 * peak) / 4, 1.0), (peak, 0.0), (1.0, 0.0))
    )
    found = {
        "energy": _plus(_energy(asked), arc, energy_gain()),
        "register": _plus(_base(asked, "register"), arc, HIGHER),
        "chromaticism": _plus(_base(asked, "chromaticism"), tension, FREER),
    }
    density = asked["density"]
    if density is not None:
        at = knots(density, arc)
        found["density"] = _curve(at, density(at) * DENSER ** arc(at))
    return found


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


def _plus(base: Curve, shape: Curve, amount: float) -> Curve:
    at = knots(base, shape)
    return _curve(at, base(at) + amount * shape(at))


def _curve(at: NDArray[np.float64], values: NDArray[np.float64]) -> Curve:
    return Curve(tuple(zip(at.tolist(), values.tolist(), strict=True)))
