"""Does a long piece hold together: time, memory, drift, repetition, silence, sections, the glide?

    python benchmarks/longform.py compose 20 1     # minutes, takes a phrase; repeat for the table
    python benchmarks/longform.py glide            # iso, 90 to 60 BPM in 10 minutes, with its sound
    python benchmarks/longform.py study data/corpus 20 1   # beside the test pieces of a corpus
    python benchmarks/longform.py table            # longform.json to longform.md

Every command adds its figures to `longform.json`. Times are processor seconds of the process that
composes, its peak memory is the largest resident set. A window is 16 bars, about a minute.

Repetition is the share of a window's melodic figures (four notes of the top line: three intervals
and three inter-onset intervals) that the window has had before; entropies are of pitch classes and
of the top line's inter-onset intervals, in bits. The real range is from the 5th to the 95th
percentile of the windows of test pieces. The self-similarity of two bars is the cosine of what
sounds in them (pitch classes of all notes, and of the top line at each eighth of the bar), averaged
over the `PHRASE` bars from each on.
"""

from __future__ import annotations

import io
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sonicrx_ml import audio, canonical, checkpoint, compose, goals, themes
from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.conformance import judge
from sonicrx_ml.notes import Floats, read_midi
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import PHRASE, BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report

HERE = Path(__file__).parent
FIGURES, TABLE, PICTURE = (HERE / f"longform.{kind}" for kind in ("json", "md", "png"))
WINDOW = 16  # bars
FIGURE = 4  # notes
EIGHTHS = 8  # parts of a bar
PIECES = 250  # of the test split
GOAL, SEED = "anxiety", 3


def asked_for(minutes: float) -> Prescription:
    return goals.prescribe(GOAL, duration_s=60.0 * minutes, seed=SEED)


def keep(name: str, figures: Any) -> None:
    """Add figures to the JSON, which is written whole or not at all."""
    known = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    part = FIGURES.with_suffix(".partial")
    part.write_text(json.dumps(known | {name: figures}, indent=1, sort_keys=True) + "\n")
    part.replace(FIGURES)


def composed(minutes: float, takes: int) -> Path:
    return HERE.parent / "outputs" / f"longform-{minutes:g}-{takes}.mid"


# ---------------------------------------------------------------- time and memory


def run_compose(minutes: float, takes: int) -> None:
    bundle = checkpoint.load(HERE.parent / "checkpoints/small")
    bundle.decoder(SamplingConfig().memory).new_cache(1)
    before = time.process_time()
    (made,) = compose.compose([asked_for(minutes)], bundle, SamplingConfig(best_of=takes))
    seconds = time.process_time() - before
    path = composed(minutes, takes)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(made.midi)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0
    found = judge(made.prescription, made.midi)
    keep(
        f"compose {minutes:g} {takes}",
        {
            "minutes": minutes,
            "takes": takes,
            "bars": len(made.plan),
            "notes": len(made.notes),
            "sections": len(made.plan.sections),
            "cpu_s": round(seconds, 1),
            "peak_mb": round(peak),
            "met": [len(found.met), len(found.asked)],
        },
    )


# ---------------------------------------------------------------- the glide


def run_glide() -> None:
    """Root mean square of asked less realised tempo, on the notes and from the sound."""
    asked = Prescription.from_dict(
        {"duration_s": 600, "tempo": [90, 60], "strategy": "iso", "mode": "major", "seed": SEED,
         "instruments": ["piano", "strings"], "density": 1.2, "polyphony": 2}
    )  # fmt: skip
    bundle = checkpoint.load(HERE.parent / "checkpoints/small")
    (made,) = compose.compose([asked], bundle, SamplingConfig())
    sound = audio.render(made.midi, tail_s=compose.TAIL_S)
    report = judge(asked, made.midi, (sound.samples, sound.rate))
    found = {}
    for where in ("notes", "sound"):
        curve = report.curve("tempo", where)
        assert curve is not None
        wanted, heard = (np.array(v, dtype=float) for v in (curve.asked, curve.realised))
        off = heard - wanted
        found[where] = {
            "rmse": round(float(np.sqrt(np.nanmean(off**2))), 3),
            "bars_heard": int(np.isfinite(off).sum()),
            "bars": len(off),
        }
    keep("glide", found | {"engine": sound.engine, "font": sound.font})


# ---------------------------------------------------------------- windows


def windows(grid: Gridded, families: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Figures of each whole window of a piece; nothing of windows with hardly any notes."""
    lead = families[0]
    for first in range(0, len(grid.meters) - WINDOW + 1, WINDOW):
        rows = (grid.bar >= first) & (grid.bar < first + WINDOW)
        meters = {str(meter) for meter in grid.meters[first : first + WINDOW]}
        if rows.sum() < 2 * WINDOW or len(meters) > 1:
            continue
        line = themes.top_line(grid, first, first + WINDOW, lead)
        if len(line) < WINDOW:
            continue
        steps = np.diff(line.onset)
        yield {
            "pitch-class entropy": _entropy(grid.pitch[rows] % 12),
            "rhythm entropy": _entropy(steps),
            "repetition": _repetition(np.diff(line.pitch), steps),
        }


def _entropy(values: Any) -> float:
    share = np.unique(values, return_counts=True)[1] / len(values)
    return float(-(share * np.log2(share)).sum())


def _repetition(intervals: Any, steps: Any) -> float:
    size = FIGURE - 1
    found = [(*intervals[i : i + size], *steps[i : i + size]) for i in range(len(steps) - size + 1)]
    return 1.0 - len(set(found)) / len(found)


def real_windows(prepared: Path) -> dict[str, Floats]:
    """Of test pieces; the family with the highest mean pitch leads."""
    from sonicrx_ml.dataset import load_prepared, load_split
    from sonicrx_ml.tokens import decode

    vocabulary, _ = load_prepared(prepared)
    pieces = load_split(prepared, "test")
    found: list[dict[str, float]] = []
    for index in np.linspace(0, len(pieces) - 1, PIECES).astype(int).tolist():
        grid = decode(np.asarray(pieces[index]["tokens"]), vocabulary)
        used = np.unique(grid.family).tolist()
        lead = max(used, key=lambda family: grid.pitch[grid.family == family].mean())
        found += windows(grid, (list(FAMILIES)[lead],))
    return {name: np.array([window[name] for window in found]) for name in found[0]}


# ---------------------------------------------------------------- the form


def similarity(grid: Gridded, lead: str) -> Floats:
    """(bars, bars)."""
    size, bars = grid.meters[0].numerator * GRID, len(grid.meters)
    everything = np.zeros((bars, 12))
    np.add.at(everything, (grid.bar, grid.pitch % 12), 1.0)
    tune = np.zeros((bars, EIGHTHS, 12))
    for bar in range(bars):
        line = themes.top_line(grid, bar, bar + 1, lead)
        np.add.at(tune[bar], (line.onset * EIGHTHS // size, line.pitch % 12), 1.0)
    features = [_unit(everything), _unit(tune.reshape(bars, -1))]
    alike = sum((rows @ rows.T for rows in features), np.zeros((bars, bars))) / 2
    summed = np.zeros((bars - PHRASE + 1,) * 2)
    for step in range(PHRASE):
        stop = bars - PHRASE + 1 + step
        summed += alike[step:stop, step:stop]
    return summed / PHRASE


def _unit(rows: Floats) -> Floats:
    norm = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norm > 0, norm, 1.0)


def returns(alike: Floats, laid: BarPlan) -> dict[str, Any]:
    """Where sections take up a melody, how alike the bars are, against pairs of bars elsewhere."""
    whole = [back for back in laid.returns if back.bars >= PHRASE]
    places = {(back.source + step, back.site + step)
              for back in whole for step in range(back.bars - PHRASE + 1)}  # fmt: skip
    there = np.array([alike[pair] for pair in places])
    rows, columns = np.triu_indices(len(alike), WINDOW)
    elsewhere = alike[rows, columns]
    return {
        "places": len(there),
        "there": round(float(there.mean()), 3),
        "elsewhere": round(float(elsewhere.mean()), 3),
        "share of other pairs below the median place": round(
            float((elsewhere < np.median(there)).mean()), 4
        ),
    }


def draw(alike: Floats, laid: BarPlan) -> None:
    import matplotlib.pyplot as plt
    from PIL import Image

    figure, axes = plt.subplots(figsize=(7.2, 7.2), dpi=110)
    low = np.quantile(alike, 0.6)  # what is more alike than most bars are is seen
    axes.imshow(alike, cmap="magma", origin="lower", vmin=low, vmax=0.9)
    starts = [section.first for section in laid.sections]
    labels = [section.label for section in laid.sections]
    for start in starts[1:]:
        axes.axhline(start - 0.5, color="white", lw=0.4, alpha=0.5)
        axes.axvline(start - 0.5, color="white", lw=0.4, alpha=0.5)
    axes.set_xticks(starts, labels, fontsize=7)
    axes.set_yticks(starts, labels, fontsize=7)
    axes.set_title(f"{len(laid)} bars: how alike {PHRASE} bars from each on are", fontsize=9)
    figure.tight_layout()
    drawn = io.BytesIO()
    figure.savefig(drawn)
    plt.close(figure)
    Image.open(drawn).convert("RGB").quantize(32).save(PICTURE, optimize=True)


# ---------------------------------------------------------------- the study


def run_study(prepared: Path, minutes: float, takes: int) -> None:
    asked, midi = asked_for(minutes), composed(minutes, takes).read_bytes()
    laid, notes = plan(asked), read_midi(midi)
    moved = notes.transpose(-laid.transposition)
    grid = canonical.snap(canonical.into_range(moved), moved.bars(at_least=len(laid)))
    report = judge(asked, midi)
    alike = similarity(grid, laid.families[0])
    draw(alike, laid)
    ours = list(windows(grid, laid.families))
    real = real_windows(prepared)
    silence = report.row("longest silence").realised
    keep(
        "study",
        {
            "minutes": minutes,
            "takes": takes,
            "form": [name for name, _ in laid.form],
            "met": [len(report.met), len(report.asked)],
            "longest silence": silence,
            "drift": drift(report),
            "windows": {name: _beside(ours, name, real[name]) for name in real},
            "returns": returns(alike, laid),
        },
    )


def _beside(ours: list[dict[str, float]], name: str, real: Floats) -> dict[str, Any]:
    values = np.array([window[name] for window in ours])
    low, middle, high = np.quantile(real, [0.05, 0.5, 0.95])
    half = len(values) // 2
    return {
        "ours": [round(float(v), 2) for v in (values.min(), values.mean(), values.max())],
        "halves": [round(float(v), 2) for v in (values[:half].mean(), values[half:].mean())],
        "real": [round(float(v), 2) for v in (low, middle, high)],
        "inside": [int(((values >= low) & (values <= high)).sum()), len(values)],
        "real windows": len(real),
    }


def drift(report: Report) -> dict[str, Any]:
    """Mean of realised less asked in each quarter of the piece, and what is allowed of a phrase."""
    found = {}
    for curve in report.curves:
        row = report.find(curve.attribute)
        if curve.where != "notes" or row is None or row.verdict not in ("pass", "fail"):
            continue
        asked, real = (np.array(v, dtype=float) for v in (curve.asked, curve.realised))
        off = real - asked
        if row.rule == "within %":
            off = 100.0 * off / asked
        quarters = [round(float(np.nanmean(part)), 3) for part in np.array_split(off, 4)]
        found[curve.attribute] = {
            "quarters": quarters,
            "unit": "%" if row.rule == "within %" else row.unit,
            "allowed": row.tolerance,
        }
    return found


# ---------------------------------------------------------------- the table


def run_table() -> None:
    known = json.loads(FIGURES.read_text())
    lines = ["# Long pieces", "", f"Goal `{GOAL}`, seed {SEED}, `checkpoints/small`. "
             "How: `benchmarks/longform.py`.", ""]  # fmt: skip
    runs = sorted((v for k, v in known.items() if k.startswith("compose")),
                  key=lambda run: (run["takes"], run["minutes"]))  # fmt: skip
    lines += ["| takes a phrase | minutes | bars | sections | notes | processor s | s a minute | "
              "peak MB | attributes met |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for run in runs:
        each = run["cpu_s"] / run["minutes"]
        lines.append(
            f"| {run['takes']} | {run['minutes']:g} | {run['bars']} | {run['sections']} | "
            f"{run['notes']:,} | {run['cpu_s']:g} | {each:.1f} | {run['peak_mb']} | "
            f"{run['met'][0]} of {run['met'][1]} |"
        )
    lines += ["", *_studied(known["study"])] if "study" in known else []
    if "glide" in known:
        notes, sound = known["glide"]["notes"], known["glide"]["sound"]
        lines += ["", "`iso` glide from 90 to 60 BPM in 10 minutes: tempo RMSE "
                  f"{notes['rmse']:g} BPM on the notes ({notes['bars_heard']} of {notes['bars']} "
                  f"bars), {sound['rmse']:g} BPM from the sound ({sound['bars_heard']} of "
                  f"{sound['bars']} bars, {known['glide']['engine']})."]  # fmt: skip
    part = TABLE.with_suffix(".partial")
    part.write_text("\n".join(lines) + "\n")
    part.replace(TABLE)


def _studied(study: dict[str, Any]) -> Iterator[str]:
    yield f"## {study['minutes']:g} minutes, takes a phrase: {study['takes']}"
    yield ""
    yield f"Form: {' '.join(study['form'])}."
    yield (
        f"Attributes met: {study['met'][0]} of {study['met'][1]}. "
        f"Longest silence: {study['longest silence']:.2f} bars."
    )
    yield ""
    yield "| realised less asked, mean of each quarter | 1 | 2 | 3 | 4 | allowed |"
    yield "|---|---|---|---|---|---|"
    for name, row in study["drift"].items():
        cells = " | ".join(f"{value:+.2f}" for value in row["quarters"])
        yield f"| {name}, {row['unit'] or 'ratio'} | {cells} | ± {row['allowed']:g} |"
    yield ""
    yield "| windows of 16 bars | least, mean, most | each half | real 5, 50, 95 % | inside |"
    yield "|---|---|---|---|---|"
    for name, row in study["windows"].items():
        ours, halves, real = (
            ", ".join(f"{v:.2f}" for v in row[key]) for key in ("ours", "halves", "real")
        )
        yield f"| {name} | {ours} | {halves} | {real} | {row['inside'][0]} of {row['inside'][1]} |"
    found = study["returns"]
    share = found["share of other pairs below the median place"]
    yield ""
    yield (
        f"Where a section takes up a melody ({found['places']} places) bars are alike by "
        f"{found['there']:.2f}, elsewhere by {found['elsewhere']:.2f}; {100 * share:.1f} % of the "
        "other pairs are less alike than the median place."
    )
    yield ""
    yield "![Self-similarity](longform.png)"


def main() -> None:
    match sys.argv[1:]:
        case ["compose", minutes, takes]:
            run_compose(float(minutes), int(takes))
        case ["glide"]:
            run_glide()
        case ["study", prepared, minutes, takes]:
            run_study(Path(prepared), float(minutes), int(takes))
        case ["table"]:
            run_table()
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
