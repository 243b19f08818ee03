"""What each part of the recipe is worth: short equal trainings of a reduced composer.

    python benchmarks/ablations.py [--prepared data/corpus] [--out outputs/ablations]
        [--tokens 1500000] [--only NAME ...] [--midi FOLDER --manifest FILE]
        [--device cpu] [--batch-size 4]

About 1 M parameters (width 128, 4 layers, context 512), one thread (or one GPU, in bf16, where more
tokens are affordable), the sources of `configs/data/corpus.yaml`, calm music first; a
variant differs from the baseline in what its name says.
Each is finished in `--out` and not trained again; the table is of what is there. Tier b is prepared
where `--midi` and `--manifest` name the corpus. Figures go to `ablations.md` and `ablations.json`.

Nats per note are over the same windows of the validation split, evenly spread: told the conditions
of each bar, told nothing, and told the attributes of another window instead (tempo to energy; the
bars that remain and the families stay right): what this costs is how much the composer listens.
Intervals are over works, differences are paired.

- *input only*: the prescription is added once, to the embedded tokens.
- *prefix*: it is a token of its own before each bar, and nothing is added anywhere.
- *transposed*: pieces are moved by -5 to 6 semitones at random (register with them), and the key is
  one more condition; the validation pieces stay in C major and A minor.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from omegaconf import OmegaConf
from torch import Tensor
from torch.nn import functional as F

from sonicrx_ml import model, shards
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.canonical import HIGHEST, LOWEST, Gridded
from sonicrx_ml.dataset import (
    Batch,
    EvaluationWindows,
    TrainingWindows,
    Windows,
    load_labels,
    load_prepared,
    load_split,
    piece_weights,
)
from sonicrx_ml.labels import CONDITIONS, condition_sizes
from sonicrx_ml.likelihood import composer_nats
from sonicrx_ml.loaders import TrainingStream
from sonicrx_ml.model import Composer
from sonicrx_ml.notes import Floats, Ints
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.recipe import DataConfig, OptimConfig
from sonicrx_ml.statistics import Estimate, bootstrap, ratio
from sonicrx_ml.tables import table
from sonicrx_ml.tokens import PITCH
from sonicrx_ml.training import Training

HERE = Path(__file__).parent
SIZE = ModelConfig(width=128, layers=4, heads=2, context=512)
WINDOWS = 256
BASELINE = "baseline"
TOLD, NOTHING, OTHER = "told", "told nothing", "told another's"


# ---------------------------------------------------------------- other ways to tell


class InputOnly(Composer):
    """The prescription is added to the embedded tokens, and to no other layer."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        for block in list(self.blocks)[1:]:
            del block.inject

    def forward(self, ids_BT: Tensor, bar_BT: Tensor, conditions_BKA: Tensor) -> Tensor:
        told_BKD = self.blocks[0].inject(self.prescribe(conditions_BKA))
        x_BTD = self.tokens(ids_BT) + model._of_bar(told_BKD, bar_BT)
        for block in self.blocks:
            x_BTD = block(x_BTD, x_BTD.new_zeros(()), self.turn_TC[: ids_BT.shape[1]])
        return F.linear(self.norm(x_BTD), self.tokens.weight)


class Prefix(InputOnly):
    """The prescription of each bar is a token before it."""

    def forward(self, ids_BT: Tensor, bar_BT: Tensor, conditions_BKA: Tensor) -> Tensor:
        told_BKD = self.blocks[0].inject(self.prescribe(conditions_BKA))
        (tokens, bars), width = (ids_BT.shape[1], told_BKD.shape[1]), told_BKD.shape[2]
        bar_BT = bar_BT.cummax(dim=1).values  # padding goes on with the last bar
        number_K = torch.arange(bars, device=bar_BT.device)
        before_BK = (bar_BT[:, :, None] < number_K).sum(dim=1)
        place_BT = torch.arange(tokens, device=bar_BT.device) + bar_BT + 1
        place_BS = torch.cat([before_BK + number_K, place_BT], dim=1)
        x_BSD = torch.cat([told_BKD, self.tokens(ids_BT)], dim=1)
        x_BSD = torch.zeros_like(x_BSD).scatter(1, _wide(place_BS, width), x_BSD)
        place_S = torch.arange(tokens + bars, device=bar_BT.device)
        turn_SC = model._turns(place_S, self.turn_TC.shape[1] // 2)
        for block in self.blocks:
            x_BSD = block(x_BSD, x_BSD.new_zeros(()), turn_SC)
        x_BTD = x_BSD.gather(1, _wide(place_BT, width))
        return F.linear(self.norm(x_BTD), self.tokens.weight)


def _wide(index: Tensor, width: int) -> Tensor:
    return index[..., None].expand(-1, -1, width)


# ---------------------------------------------------------------- other windows


class Asked(EvaluationWindows):
    """Windows told the right conditions, none, or the attributes of a window far away."""

    other = False

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = super().__getitem__(index)
        if self.other:
            away = super().__getitem__((index + len(self) // 2) % len(self))["conditions"]
            mine = sample["conditions"]
            end = mine.shape[1] - len(FAMILIES) - 1
            bars = np.arange(len(mine)) % len(away)
            mine[:, end - len(CONDITIONS) : end] = away[bars, end - len(CONDITIONS) : end]
        return sample


@dataclass
class Move:
    """Up by `shift` semitones, after whatever else is done to a piece."""

    shift: int
    before: Callable[[Gridded], Gridded] | None

    def __call__(self, grid: Gridded) -> Gridded:
        grid = self.before(grid) if self.before else grid
        return replace(grid, pitch=grid.pitch + self.shift)


class Keyed(Windows):
    """The tonic, in semitones above C or A, is the first condition: 0 is free, 1 is none."""

    def window(self, row: Mapping[str, Any], start: int, change: Any = None) -> dict[str, Any]:
        shift = 0
        if isinstance(change, Move):
            pitch = self.vocabulary.value[row["tokens"]][
                self.vocabulary.kind[row["tokens"]] == PITCH
            ]
            shift = int(np.clip(change.shift, LOWEST - pitch.min(), HIGHEST - pitch.max()))
            change = replace(change, shift=shift)
            row = {**row, "register": np.asarray(row["register"]) + shift}
        sample = super().window(row, start, change)
        sample["conditions"] = np.insert(sample["conditions"], 0, 1 + shift % 12, axis=1)
        return sample


class KeyedTraining(Keyed, TrainingWindows):
    def _change(self, rng: np.random.Generator) -> Callable[[Gridded], Gridded]:
        before = super()._change(rng)
        return Move(int(rng.integers(-5, 7)), before)


class KeyedAsked(Keyed, Asked):
    pass


# ---------------------------------------------------------------- the variants


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What every variant gets."""

    tokens: int
    batch_size: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A training that differs from the baseline; the defaults are the baseline's."""

    size: Mapping[str, int] = field(default_factory=dict)
    composer: type[Composer] = Composer
    data: Mapping[str, Any] = field(default_factory=dict)
    keyed: bool = False
    tier_b: bool = False
    seed: int = 1


VARIANTS = {
    BASELINE: Variant(),
    "input only": Variant(composer=InputOnly),
    "prefix": Variant(composer=Prefix),
    "attribute dropout 0": Variant(data={"drop_attribute": 0.0}),
    "attribute dropout 0.5": Variant(data={"drop_attribute": 0.5}),
    "baseline, another seed": Variant(seed=2),
    "transposed, key told": Variant(keyed=True),
    "half the size": Variant(size={"width": 96}),
    "double the size": Variant(size={"width": 192, "heads": 3}),
    "tier b as well": Variant(tier_b=True),
    "never told": Variant(data={"drop_all": 1.0}),
}


def train(variant: Variant, prepared: Path, budget: Budget) -> tuple[Composer, dict[str, Any]]:
    """A trained composer, and what it took."""
    recipe: Any = OmegaConf.to_container(OmegaConf.load(HERE.parent / "configs/data/corpus.yaml"))
    config = DataConfig(**{**recipe, "prepared": str(prepared), **variant.data})
    vocabulary, bins = load_prepared(prepared)
    windows = (KeyedTraining if variant.keyed else TrainingWindows)(
        load_split(prepared, "train"),
        vocabulary,
        bins,
        SIZE.context,
        piece_weights(load_labels(prepared, "train"), config),
        config,
        variant.seed,
    )
    size, device = budget.batch_size, budget.device
    steps = budget.tokens // (size * SIZE.context)
    torch.manual_seed(variant.seed)
    sizes = ((13,) if variant.keyed else ()) + condition_sizes(bins)
    composer = variant.composer(replace(SIZE, **variant.size), len(vocabulary), sizes).to(device)
    optim = OptimConfig(lr=2e-3, max_steps=steps, batch_size=size, warmup_steps=min(50, steps - 1))
    training = Training(composer, optim)
    parts: Any = training.configure_optimizers()
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    began, seen = time.process_time(), 0
    for _, batch in zip(range(steps), TrainingStream(windows, size, 0, 0, 1), strict=False):
        with torch.autocast(device, torch.bfloat16, enabled=device != "cpu"):
            total, count = training.nats(Batch(*(part.to(device) for part in batch)))
        (total / count).backward()
        torch.nn.utils.clip_grad_norm_(composer.parameters(), optim.clip)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen += int(count)
    return composer.eval(), {
        "parameters": sum(p.numel() for p in composer.parameters()),
        "tokens": seen,
        "cpu_s": round(time.process_time() - began, 1),
    }


def run(variant: Variant, prepared: Path, budget: Budget) -> dict[str, Any]:
    """A variant's figures, and the nats of each window under each way of telling."""
    composer, about = train(variant, prepared, budget)
    vocabulary, bins = load_prepared(prepared)
    found = {}
    for name in (TOLD, NOTHING, OTHER):
        windows = (KeyedAsked if variant.keyed else Asked)(
            load_split(prepared, "valid"),
            vocabulary,
            bins,
            SIZE.context,
            WINDOWS,
            free=name == NOTHING,
        )
        windows.other = name == OTHER
        found[name] = composer_nats(composer, windows, 8, name).round(3).tolist()
    return {**about, "nats": found}


def with_tier_b(prepared: Path, out: Path, midi: Path, manifest: Path) -> Path:
    """A prepared folder with the training pieces of tier b beside all that `prepared` has."""
    made, alone = out / "tier-ab", out / "tier-b"
    if not (made / "bins.json").is_file():
        shutil.rmtree(made, ignore_errors=True)  # of a run that was stopped
        shards.prepare(midi, alone, manifest, tiers=("b",), workers=1)
        (made / "shards").mkdir(parents=True, exist_ok=True)
        for path in (prepared / "shards").iterdir():
            (made / "shards" / path.name).symlink_to(path.resolve())
        for path in (alone / "shards").glob("train-*.parquet"):
            link = made / "shards" / path.name.replace("train-", "train-b")
            link.symlink_to(path.resolve())
        both = [pq.read_table(prepared / "labels.parquet"), load_labels(alone, "train")]
        pq.write_table(pa.concat_tables(both, promote_options="default"), made / "labels.parquet")
        for name in ("vocabulary.json", "bins.json"):
            (made / name).write_bytes((prepared / name).read_bytes())
    return made


# ---------------------------------------------------------------- the table


def weigh(prepared: Path) -> tuple[Ints, list[str]]:
    """Notes, and the work, of each of the windows that every variant is measured on."""
    vocabulary, bins = load_prepared(prepared)
    windows = Asked(load_split(prepared, "valid"), vocabulary, bins, SIZE.context, WINDOWS)
    works = load_labels(prepared, "valid")["group"].to_pylist()
    notes = [(vocabulary.kind[windows[i]["ids"][1:]] == PITCH).sum() for i in range(len(windows))]
    return np.array(notes), [works[piece] for piece, _ in windows.spans]


def figures(
    found: Mapping[str, Mapping[str, Any]], notes: Ints, works: list[str]
) -> Iterator[tuple[str, dict[str, Estimate]]]:
    """Each variant's nats per note, and differences."""

    def per_note(nats: Floats) -> Estimate:
        return bootstrap(np.stack([nats, notes], axis=1), ratio, groups=works)

    for name, one in found.items():
        nats = {how: np.array(each) for how, each in one["nats"].items()}
        row = {TOLD: per_note(nats[TOLD]), NOTHING: per_note(nats[NOTHING])}
        row["another's costs"] = per_note(nats[OTHER] - nats[TOLD])
        if name != BASELINE and BASELINE in found:
            for how in (TOLD, NOTHING):
                base = np.array(found[BASELINE]["nats"][how])
                row[f"{how}, less the baseline"] = per_note(nats[how] - base)
        yield name, row


def page(found: Mapping[str, Mapping[str, Any]], rows: Mapping[str, Mapping[str, Estimate]]) -> str:
    titles = list(dict.fromkeys(title for row in rows.values() for title in row))
    cells = [
        [name, f"{found[name]['parameters']:,}", f"{found[name]['tokens']:,}",
         *(str(row.get(title, "")) for title in titles)]
        for name, row in rows.items()
    ]  # fmt: skip
    absent = [name for name in VARIANTS if name not in rows]
    budget = next(iter(found.values()))["budget"]
    lines = [
        "# Ablations",
        "",
        f"{budget['tokens']:,} tokens, {budget['batch_size']} windows a step, on "
        f"{budget['device']}.",
        "",
        "Nats per note on windows of the validation split. How: `benchmarks/ablations.py`. These",
        "are short trainings of a small network: differences of the size of that between the two",
        "seeds say nothing, and what is best here need not be best after a long training.",
        "",
        *table(["variant", "parameters", "tokens seen", *titles], cells),
    ]
    if absent:
        lines += ["", f"Not run: {', '.join(absent)}."]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=Path("data/corpus"))
    parser.add_argument("--out", type=Path, default=Path("outputs/ablations"))
    parser.add_argument("--tokens", type=int, default=1_500_000)
    parser.add_argument("--only", nargs="*", default=list(VARIANTS))
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--batch-size", type=int, default=4, help="windows a step")
    parser.add_argument("--midi", type=Path)
    parser.add_argument("--manifest", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget(tokens=given.tokens, batch_size=given.batch_size, device=given.device)
    given.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    for name, variant in VARIANTS.items():
        path = given.out / f"{name.replace(' ', '-').replace(',', '')}.json"
        prepared = given.prepared
        if not path.is_file() and name in given.only:
            if variant.tier_b:
                if not given.midi or not given.manifest:
                    continue
                prepared = with_tier_b(prepared, given.out, given.midi, given.manifest)
            partial = path.with_suffix(".partial")
            made = {"budget": asdict(budget), **run(variant, prepared, budget)}
            partial.write_text(json.dumps(made) + "\n")
            partial.replace(path)
        if path.is_file():
            found[name] = json.loads(path.read_text())
            check(path, found[name], budget)
            write(found, given.prepared)


def check(path: Path, made: Mapping[str, Any], budget: Budget) -> None:
    if made["budget"] != asdict(budget):
        raise ValueError(
            f"{path} had {made['budget']}; legal is the same for all, {asdict(budget)}: give "
            "another --out, or the budget of what is there"
        )


def write(found: dict[str, Any], prepared: Path) -> None:
    rows = dict(figures(found, *weigh(prepared)))
    kept = {
        name: {key: value for key, value in found[name].items() if key != "nats"}
        | {title: estimate.to_dict() for title, estimate in row.items()}
        for name, row in rows.items()
    }
    (HERE / "ablations.json").write_text(json.dumps(kept, indent=1) + "\n")
    (HERE / "ablations.md").write_text(page(found, rows))


if __name__ == "__main__":
    main()
