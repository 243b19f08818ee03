"""Do the psychoacoustic measurements agree with their standards, and with a second implementation?

    python benchmarks/psychoacoustics.py

Every signal is made here. Tables go to `psychoacoustics.md` and `.json` beside this file: what the
standard says against what is measured, what MoSQITo measures on the same samples against ours, and
processor seconds for a minute of sound, ours and theirs in the same run on one core.
A new metric adds a function to ORACLES, PEERS or SPEEDS; each returns rows of one kind.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from mosqito import sq_metrics as mosqito
from numpy.typing import NDArray

from sonicrx_ml import loudness

HERE = Path(__file__).parent
RATE = 48_000
FULL_SCALE = 100.0  # dB SPL of a full-scale sine, as in the files of ISO 532-1
PASCAL = np.sqrt(2) * 2e-5 * 10 ** (FULL_SCALE / 20)  # of full scale
TRACK_S = 180.0  # of sound for our speed; theirs gets PIECE_S
PIECE_S = 2.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Oracle:
    """A published figure and ours; `share` is the deviation over the tolerance: 1 is the limit."""

    metric: str
    signal: str
    unit: str
    published: float
    ours: float
    tolerance: float
    share: float


@dataclass(frozen=True, slots=True)
class Peer:
    """Two implementations on one signal; `worst` is their largest difference over the tolerance."""

    metric: str
    signal: str
    unit: str
    theirs: float
    ours: float
    worst: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Processor seconds per minute of sound, one channel; `ratio` is theirs over ours."""

    metric: str
    ours: float
    theirs: float
    ratio: float


def oracle(
    metric: str, signal: str, unit: str, published: float, ours: float, tolerance: float
) -> Oracle:
    share = abs(ours - published) / tolerance
    return Oracle(
        metric, signal, unit, published, round(ours, 3), round(tolerance, 3), round(share, 2)
    )


# ---------------------------------------------------------------- signals


def amplitude(db_spl: float) -> float:
    return float(10 ** ((db_spl - FULL_SCALE) / 20))


def tone(hz: float, db_spl: float, seconds: float = 1.0) -> Floats:
    return amplitude(db_spl) * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def noise(
    low: float, high: float, db_spl: float, *, power: float = 0.0, seconds: float = 4.0
) -> Floats:
    """Noise between two frequencies, density as f^power, with phases drawn at random."""
    hz = np.fft.rfftfreq(round(seconds * RATE), 1 / RATE)
    inside = (hz >= low) & (hz <= high)
    phases = np.random.default_rng(0).random(int(inside.sum()))
    spectrum = np.zeros(len(hz), dtype=np.complex128)
    spectrum[inside] = hz[inside] ** (power / 2) * np.exp(2j * np.pi * phases)
    wave = np.fft.irfft(spectrum)
    return wave * amplitude(db_spl) / np.sqrt(2 * np.mean(wave**2))


def pulse(hz: float, db_spl: float, seconds: float) -> Floats:
    return np.pad(tone(hz, db_spl, seconds), (4_800, 24_000))


def clicks() -> Floats:
    return np.where(np.arange(RATE) % 4_800 == 0, 0.3, 0.0)


def bursts() -> Floats:
    return noise(100, 15_000, 75, seconds=1.0) * (np.arange(RATE) % 6_000 < 1_500)


def plucks() -> Floats:
    """A chord of which each tone is struck at its own rate."""
    t = np.arange(2 * RATE) / RATE
    tones = [
        np.sin(2 * np.pi * hz * t) * np.exp(-5 * (t * (2 + index % 3) % 1))
        for index, hz in enumerate((110, 220, 277, 330, 440, 880, 1760, 3520))
    ]
    return 0.02 * np.sum(tones, axis=0)


# ---------------------------------------------------------------- loudness and sharpness


def steady(samples: Floats) -> loudness.Stationary:
    return loudness.stationary(samples, RATE, full_scale_db_spl=FULL_SCALE)


def varying(samples: Floats) -> loudness.Varying:
    return loudness.over_time(samples, RATE, full_scale_db_spl=FULL_SCALE)


def five_percent(published: float | Floats, least: float) -> float | Floats:
    return np.maximum(0.05 * np.asarray(published), least)


def loudness_oracles() -> list[Oracle]:
    """ISO 532-1:2017, annex B.3, test signals 2 to 4; within 5 % or .1 sone."""
    rows = []
    for hz, db_spl, published in ((250, 80, 14.655), (1000, 60, 4.019), (4000, 40, 1.549)):
        samples, name = tone(hz, db_spl), f"{hz} Hz, {db_spl} dB"
        settled = float(varying(samples).sone.values[250:].mean())
        tolerance = float(five_percent(published, 0.1))
        found = steady(samples).sone
        rows += [
            oracle("loudness, stationary", name, "sone", published, found, tolerance),
            oracle("loudness over time", name, "sone", published, settled, tolerance),
        ]
    return rows


DIN_45692 = (  # limits of the critical band in Hz, acum
    (200, 300, 0.38),
    (400, 510, 0.60),
    (630, 770, 0.82),
    (920, 1080, 1.00),
    (1480, 1720, 1.35),
    (2320, 2700, 1.78),
    (3700, 4400, 2.82),
    (5300, 6400, 4.43),
    (7700, 9500, 6.81),
    (9500, 12_000, 8.55),
)


def sharpness_oracles() -> list[Oracle]:
    """DIN 45692, noise one critical band wide at 60 dB; within 5 % or .05 acum."""
    return [
        oracle(
            "sharpness",
            f"noise {low}-{high} Hz, 60 dB",
            "acum",
            published,
            steady(noise(low, high, 60)).acum,
            float(five_percent(published, 0.05)),
        )
        for low, high, published in DIN_45692
    ]


def stationary_peers() -> list[Peer]:
    """Loudness and sharpness of sounds that do not change."""
    signals = {
        "1 kHz, 60 dB": tone(1000, 60),
        "4 kHz, 80 dB": tone(4000, 80),
        "pink noise 20 Hz-20 kHz, 60 dB": noise(20, 20_000, 60, power=-1.0),
        "pink noise 1/8 Hz-24 kHz, 60 dB": noise(0.125, 24_000, 60, power=-1.0, seconds=8.0),
    }
    rows = []
    for name, samples in signals.items():
        sone, _, _ = mosqito.loudness_zwst(samples * PASCAL, RATE)
        acum = mosqito.sharpness_din_st(samples * PASCAL, RATE)
        found = steady(samples)
        for metric, unit, theirs, ours, least in (
            ("loudness, stationary", "sone", float(sone), found.sone, 0.1),
            ("sharpness", "acum", float(acum), found.acum, 0.05),
        ):
            worst = float(abs(ours - theirs) / five_percent(theirs, least))
            rows.append(Peer(metric, name, unit, round(theirs, 3), round(ours, 3), round(worst, 2)))
    return rows


def varying_peers() -> list[Peer]:
    """N5, and N(t) every 2 ms: the worst instant is what counts."""
    signals = {
        "1 kHz, 70 dB, 10 ms": pulse(1000, 70, 0.01),
        "250 Hz, 80 dB, 100 ms": pulse(250, 80, 0.1),
        "4 kHz, 80 dB, 30 ms": pulse(4000, 80, 0.03),
        "clicks": clicks(),
        "noise bursts": bursts(),
        "plucked chord": plucks(),
    }
    rows = []
    for name, samples in signals.items():
        theirs = mosqito.loudness_zwtv(samples * PASCAL, RATE)[0]
        found = varying(samples)
        worst = float((np.abs(found.sone.values - theirs) / five_percent(theirs, 0.1)).max())
        n5 = round(float(np.percentile(theirs, 95)), 3)
        ours = round(found.exceeded(5), 3)
        rows.append(Peer("loudness over time", name, "sone", n5, ours, round(worst, 2)))
    return rows


# ---------------------------------------------------------------- speed


def seconds_per_minute(measure: Callable[[Floats], object], samples: Floats) -> float:
    start = time.process_time()
    measure(samples)
    return (time.process_time() - start) * 60 / (samples.size / RATE)


def loudness_speed() -> list[Speed]:
    """Time-varying and stationary loudness, each with its sharpness."""
    track = np.stack([noise(20, 20_000, 70, power=-1.0, seconds=TRACK_S / 10)] * 2)
    track = np.tile(track, 10)
    piece = track[0, : round(PIECE_S * RATE)]
    rows = []
    for metric, ours, theirs in (
        ("loudness and sharpness over time", varying, partial(mosqito.sharpness_din_tv, skip=0.01)),
        ("loudness and sharpness, stationary", steady, mosqito.sharpness_din_st),
    ):
        ours(piece)  # the tables of the filters are made once
        own = seconds_per_minute(ours, track)
        other = seconds_per_minute(partial(theirs, fs=RATE), piece * PASCAL)
        rows.append(Speed(metric, round(own, 2), round(other, 1), round(other / own, 1)))
    return rows


# ---------------------------------------------------------------- report

ORACLES: list[Callable[[], list[Oracle]]] = [loudness_oracles, sharpness_oracles]
PEERS: list[Callable[[], list[Peer]]] = [stationary_peers, varying_peers]
SPEEDS: list[Callable[[], list[Speed]]] = [loudness_speed]

TEXT = """# Psychoacoustic measurements against standards and MoSQITo

Written by `benchmarks/psychoacoustics.py`. Full scale is {full_scale:.0f} dB SPL, as in the files
of ISO 532-1.

## Against the standard

*Share*: the deviation over the standard's tolerance; up to 1 is in order.

{oracles}

## Against MoSQITo {mosqito}

*Worst*: the largest difference over the same tolerance; over time, at the worst instant of all.
Test signal 5 of ISO 532-1 (pink noise, 60 dB, 10.498 sone) is a recording: the lower limit of its
spectrum is not printed, and how loud 60 dB are hangs on it. Both implementations agree on two such
noises.

{peers}

## Speed

Processor seconds per minute of one channel, on one core, in the same run: ours on a stereo track of
{track:.0f} s, MoSQITo on {piece:.0f} s of it in mono.

{speeds}
"""


def table(rows: list[Oracle] | list[Peer] | list[Speed]) -> str:
    cells = [list(map(str, asdict(row).values())) for row in rows]
    header = list(asdict(rows[0]))
    lines = [header, ["---"] * len(header), *cells]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    warnings.filterwarnings("ignore", category=RuntimeWarning, module="mosqito")
    oracles = [row for rows in ORACLES for row in rows()]
    peers = [row for rows in PEERS for row in rows()]
    speeds = [row for rows in SPEEDS for row in rows()]
    report = {
        "oracles": [asdict(row) for row in oracles],
        "peers": [asdict(row) for row in peers],
        "speeds": [asdict(row) for row in speeds],
        "mosqito": version("mosqito"),
    }
    (HERE / "psychoacoustics.json").write_text(json.dumps(report, indent=1) + "\n")
    text = TEXT.format(
        full_scale=FULL_SCALE,
        mosqito=version("mosqito"),
        track=TRACK_S,
        piece=PIECE_S,
        oracles=table(oracles),
        peers=table(peers),
        speeds=table(speeds),
    )
    (HERE / "psychoacoustics.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
