"""How fast the path is, against named peers in the same run.

    python benchmarks/speed.py [--checkpoint checkpoints/small] [--repeats 5]

Tokenizing and sampling are medians over repeats of wall time; the cacheless network and the track
of two minutes are timed once. Ratios compare two rows of one run, so they hold when the machine is
slower. Writes `benchmarks/speed.md` and `speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import symusic
import torch

from sonicrx_ml import audio, canonical, checkpoint, etudes, tokens
from sonicrx_ml.compose import compose
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import read_midi, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig, stream

HERE = Path(__file__).parent
MINUTE: dict[str, Any] = {"duration_s": 60, "tempo": 72, "density": 2, "polyphony": 4}


class Row(NamedTuple):
    """One figure; `against` is ours over the peer's, where there is a peer."""

    what: str
    figure: float
    unit: str
    peer: str = ""
    against: float | None = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkpoint", default="checkpoints/small")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    bundle = checkpoint.load(given.checkpoint)
    rows = [*tokenizing(given.repeats), *sampling(bundle, given.repeats), *sounding(bundle)]
    about = {
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "repeats": given.repeats,
        "checkpoint_sha256": bundle.sha256,
    }
    results = {"about": about, "rows": [row._asdict() for row in rows]}
    (HERE / "speed.json").write_text(json.dumps(results, indent=1) + "\n")
    (HERE / "speed.md").write_text(markdown(about, rows))
    print((HERE / "speed.md").read_text())


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median wall time after one run that is not counted."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def tokenizing(repeats: int) -> list[Row]:
    """Forty etudes from MIDI bytes to token ids, by columns and by stock MidiTok."""
    files = [write_midi(etudes.compose(seed).notes) for seed in range(40)]
    vocabulary, stock = tokens.Vocabulary.build(), tokens.remi()

    def ours() -> None:
        for file in files:
            notes = canonical.playable(canonical.simplify_meters(read_midi(file)))
            tokens.encode(canonical.snap(notes, notes.bars()), vocabulary)

    def miditok() -> None:
        for file in files:
            stock.encode(symusic.Score.from_midi(file))

    mine, theirs = seconds(ours, repeats), seconds(miditok, repeats)
    return [
        Row("MIDI to tokens", len(files) / mine, "files/s", "MidiTok REMI.encode", theirs / mine),
        Row("MIDI to tokens, MidiTok", len(files) / theirs, "files/s"),
    ]


def sampling(bundle: checkpoint.Bundle, repeats: int) -> list[Row]:
    """Tokens a second of the whole sampler (rules and guidance included), batches of 1 and 8."""
    rows = [
        Row(f"sampling, batch {batch}, guidance {guidance}",
            tokens_a_second(bundle, batch, guidance, repeats), "tokens/s")
        for batch in (1, 8) for guidance in (1.0, 1.5)
    ]  # fmt: skip
    cacheless = uncached(bundle)
    rows.append(Row("the network without a cache, batch 1, 256 tokens", cacheless, "tokens/s"))
    best = rows[0]._replace(peer="the same network, no cache", against=rows[0].figure / cacheless)
    return [best, *rows[1:]]


def tokens_a_second(bundle: checkpoint.Bundle, batch: int, guidance: float, repeats: int) -> float:
    """Of plans of a minute, some 1,200 tokens each."""
    plans = [plan(Prescription(**MINUTE, seed=seed)) for seed in range(batch)]
    config = SamplingConfig(guidance=guidance)

    def write() -> int:
        return sum(len(ids) for _, ids in stream(bundle, plans, range(batch), config))

    return write() / seconds(write, repeats)


@torch.inference_mode()
def uncached(bundle: checkpoint.Bundle, length: int = 256) -> float:
    """Tokens/s of running the whole prefix again for every token, up to `length`."""
    composer = bundle.composer
    ids = torch.full((1, length), bundle.vocabulary.bar)
    conditions = torch.zeros(1, 1, len(composer.first), dtype=torch.long)  # type: ignore[arg-type]
    start = time.perf_counter()
    for end in range(1, length + 1):
        composer(ids[:, :end], torch.zeros_like(ids[:, :end]), conditions)
    return length / (time.perf_counter() - start)


def sounding(bundle: checkpoint.Bundle) -> list[Row]:
    """A two-minute track, step by step."""
    prescription = Prescription.from_dict({"goal": "anxiety", "duration_s": 120, "tempo": [84, 60]})
    clock = [time.perf_counter()]
    [composition] = compose([prescription], bundle)
    clock.append(time.perf_counter())
    sound = audio.render(composition.midi, engine="tinysoundfont")
    clock.append(time.perf_counter())
    master(sound)
    clock.append(time.perf_counter())
    took = np.diff(clock)
    return [
        Row("compose 120 s", 120 / took[0], "x real time"),
        Row("render 120 s, tinysoundfont", 120 / took[1], "x real time"),
        Row("master 120 s", 120 / took[2], "x real time"),
    ]


def markdown(about: dict[str, object], rows: list[Row]) -> str:
    lines = ["# Speed", "", ", ".join(f"{key} {value}" for key, value in about.items()), ""]
    lines += ["| what | figure | unit | against | ratio |", "|---|---|---|---|---|"]
    for row in rows:
        ratio = "" if row.against is None else f"{row.against:.1f}"
        lines.append(f"| {row.what} | {row.figure:,.1f} | {row.unit} | {row.peer} | {ratio} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
