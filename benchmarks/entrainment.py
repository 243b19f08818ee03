"""Does the loudness breathe, the tempo move unnoticed, the arc peak and release as asked?

    python benchmarks/entrainment.py [--checkpoint checkpoints/small]

Short tracks by the shipped checkpoint, one take each, rendered, mastered and judged. Breathing is
measured on the sound, tempo on the file, arcs on both. A track whose figures are in
`entrainment.json` for this checkpoint is not made again. The table goes to `entrainment.md`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonicrx_ml import checkpoint, compose
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.goals import prescribe
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report, phrase_means

HERE = Path(__file__).parent
PHRASE = 4  # bars

# goal, seconds, controls
BREATHING: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("anxiety", 60, {"breaths_per_min": 6}),
    ("stress", 60, {"breaths_per_min": 5.5, "inhale_share": 0.5, "final_silence_s": 0}),
    ("grief", 60, {"breaths_per_min": 6, "inhale_share": 0.3, "breath_depth_db": 8}),
    ("focus", 60, {"breaths_per_min": 10, "inhale_share": 0.6, "breath_depth_db": 3}),
    ("sleep", 80, {"breaths_per_min": [12, 6]}),
    ("anxiety", 80, {"breaths_per_min": [12, 6], "inhale_share": 0.3}),
    ("pain", 60, {"breaths_per_min": 6, "meter": "3/4"}),
    ("mood_lift", 60, {"breaths_per_min": 8, "meter": "6/8", "instruments": ["music_box"]}),
)
TEMPO: tuple[tuple[str, float, dict[str, Any]], ...] = (
    ("anxiety", 120, {"strategy": "iso", "tempo": [66, 60]}),
    ("anxiety", 90, {"strategy": "iso", "tempo": [66, 60]}),
    ("anxiety", 60, {"strategy": "direct"}),
    ("anxiety", 60, {"strategy": "iso"}),
    ("pain", 90, {}),
    ("mood_lift", 90, {}),
)
ARCS: tuple[tuple[str, float, dict[str, Any]], ...] = tuple(
    (goal, seconds, {"arc": "build_release"} | controls)
    for goal, seconds, controls in (
        ("mood_lift", 60, {}),
        ("anxiety", 60, {"arc_peak": 0.5}),
        ("grief", 60, {"arc_peak": 0.8}),
        ("bonding", 60, {}),
        ("focus", 60, {"arc_peak": 0.6}),
        ("stress", 60, {"arc_peak": 0.4, "final_silence_s": 0}),
        ("pain", 60, {"arc_peak": 0.65, "meter": "3/4"}),
        ("motor", 45, {}),
        ("mood_lift", 45, {"mode": "minor", "meter": "6/8", "instruments": ["piano"]}),
    )
)


def asked(rows: Sequence[tuple[str, float, dict[str, Any]]]) -> list[Prescription]:
    return [prescribe(goal, seconds, seed=7 + i, **controls)
            for i, (goal, seconds, controls) in enumerate(rows)]  # fmt: skip


def figures(prescription: Prescription, report: Report) -> dict[str, Any]:
    """Asked and realised of the rows that are told, with their verdicts."""
    wanted = ("swell rate", "swell depth", "inhale share", "startle", "tempo step", "tempo drift",
              "tempo change", "tempo", "density", "energy", "register", "arc peak",
              "appoggiatura")  # fmt: skip
    rows = [v for v in report.verdicts if v.attribute in wanted]
    found = {
        f"{v.attribute} ({v.where})": {
            "asked": v.asked, "realised": v.realised, "error": v.error, "moved": v.moved,
            "verdict": v.verdict,
        }
        for v in rows
    }  # fmt: skip
    failed = [f"{v.attribute} ({v.where})" for v in report.verdicts if v.verdict == "fail"]
    return {
        "rows": found, "peak": peak(prescription, report), "score": report.score, "failed": failed,
    }  # fmt: skip


def peak(prescription: Prescription, report: Report) -> dict[str, float] | None:
    """How far energy rises from the first phrase to the highest one, and falls to the last."""
    curve = report.curve("energy")
    if curve is None or prescription.arc is None:
        return None
    found = {"bars": float(len(curve.asked))}
    for name in ("asked", "realised"):
        values = np.array([np.nan if v is None else v for v in getattr(curve, name)])
        means = phrase_means(values, PHRASE)
        top = np.nanmax(means)
        found |= {f"{name} rise": float(top - means[0]), f"{name} release": float(top - means[-1])}
    return found


def measure(bundle: Bundle, cache: Path) -> dict[str, Any]:
    """The figures of every track, those in the cache not made again."""
    kept = json.loads(cache.read_text()) if cache.is_file() else {}
    tracks = kept.get("tracks", {}) if kept.get("checkpoint") == bundle.sha256[:12] else {}
    missing = [p for rows in (BREATHING, TEMPO, ARCS) for p in asked(rows) if p.id not in tracks]
    sampling = SamplingConfig()
    for prescription in missing:
        (composition,) = compose.compose([prescription], bundle, sampling)
        track = compose.produce(composition, bundle, sampling)
        tracks[prescription.id] = figures(prescription, track.report) | {
            "engine": track.sound.engine, "font": track.sound.font,
        }  # fmt: skip
        found = {"checkpoint": bundle.sha256[:12], "tracks": tracks}
        cache.write_text(json.dumps(found, indent=1) + "\n")
    return {"checkpoint": bundle.sha256[:12], "tracks": tracks}


# ---------------------------------------------------------------- the page


def page(found: dict[str, Any]) -> str:
    engine = sorted({f"{t['engine']}, {t['font']}" for t in found["tracks"].values()})
    return "\n".join(
        [
            "# Entrainment",
            "",
            f"Written by `benchmarks/entrainment.py`, checkpoint {found['checkpoint']}, one take",
            f"under the rules, {'; '.join(engine)}. Asked / found.",
            "",
            "## Breathing, on the sound",
            "",
            "Within 5 % of the rate and 1 dB of the depth; startle is at most 6 LU in 400 ms.",
            "",
            "| track | breaths a minute | depth, dB | inhale share | startle, LU | |",
            "|---|---|---|---|---|---|",
            *_breaths(found),
            "",
            "## Tempo, on the file",
            "",
            "A step is a change between tempi held for 8 beats, a drift any other. Steps are",
            "noticed from 1.5 to 3 %, drifts from .2 to .3 % a beat; strategies keep to 3 and .15.",
            "",
            "| track | largest step, % | largest drift, % a beat | a listener | tempo moves | "
            "energy moves | density moves |",
            "|---|---|---|---|---|---|---|",
            *_tempi(found),
            "",
            "*Moves* is the share of the asked movement that is made (slope of realised on asked).",
            "",
            "## Build and release",
            "",
            "Energy by phrases of four bars: around which bar line it is highest, how far it rises",
            "to there from the first phrase, how far it falls to the last; how many appoggiaturas",
            "the peak has; what of all that is judged was missed.",
            "",
            "| track | peak at bar line, asked / found | of | rise | release | appoggiaturas | "
            "startle, LU | missed |",
            "|---|---|---|---|---|---|---|---|",
            *_arcs(found),
            "",
        ]
    )


def _name(row: tuple[str, float, dict[str, Any]]) -> str:
    goal, seconds, controls = row
    told = ", ".join(f"{name} {value}" for name, value in controls.items())
    return f"{goal}, {seconds:g} s{', ' if told else ''}{told}"


def _each(found: dict[str, Any], rows: Any) -> Iterator[tuple[str, dict[str, Any], Any]]:
    for row, prescription in zip(rows, asked(rows), strict=True):
        track = found["tracks"][prescription.id]
        yield _name(row), track["rows"], track["peak"]


def _pair(row: dict[str, Any]) -> str:
    return f"{row['asked']:.3g} / {row['realised']:.3g}"


def _told(*rows: dict[str, Any]) -> str:
    failed = [row for row in rows if row["verdict"] == "fail"]
    return "✗" if failed else "✓"


def _breaths(found: dict[str, Any]) -> Iterator[str]:
    for name, rows, _ in _each(found, BREATHING):
        rate, depth, inhale, startle = (
            rows[f"{part} (sound)"]
            for part in ("swell rate", "swell depth", "inhale share", "startle")
        )
        yield (
            f"| {name} | {_pair(rate)} | {_pair(depth)} | {_pair(inhale)} | "
            f"{startle['realised']:.2f} | {_told(rate, depth, inhale, startle)} |"
        )


def _tempi(found: dict[str, Any]) -> Iterator[str]:
    for name, rows, _ in _each(found, TEMPO):
        moved = (rows[f"{part} (notes)"]["moved"] for part in ("tempo", "energy", "density"))
        yield (
            f"| {name} | {rows['tempo step (notes)']['realised']:.2f} | "
            f"{rows['tempo drift (notes)']['realised']:.3f} | "
            f"{rows['tempo change (notes)']['realised']} | "
            f"{' | '.join('–' if share is None else f'{share:.0%}' for share in moved)} |"
        )


def _arcs(found: dict[str, Any]) -> Iterator[str]:
    for row, prescription in zip(ARCS, asked(ARCS), strict=True):
        track = found["tracks"][prescription.id]
        rows, top = track["rows"], track["peak"]
        pairs = (f"{top[f'asked {part}']:.2f} / {top[f'realised {part}']:.2f}"
                 for part in ("rise", "release"))  # fmt: skip
        yield (
            f"| {_name(row)} | {_pair(rows['arc peak (notes)'])} | {top['bars']:g} | "
            f"{' | '.join(pairs)} | {rows['appoggiatura (notes)']['realised']:g} | "
            f"{rows['startle (sound)']['realised']:.2f} | {', '.join(track['failed']) or '–'} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="checkpoints/small")
    given = parser.parse_args()
    found = measure(checkpoint.load(given.checkpoint), HERE / "entrainment.json")
    (HERE / "entrainment.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
