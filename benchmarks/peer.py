"""Ours against what one would pick instead: MidiTok's stock REMI with a stock Llama decoder.

    python benchmarks/peer.py [--prepared data/corpus] [--out outputs/peer] [--tokens 1000000]

Needs `pip install -e '.[bench]'`. Both learn from the same pieces, drawn at random from the
training split of a prepared corpus, with about as many parameters, the same context, batch, highest
rate and warm-up, on one thread. Each has the AdamW and the cosine of its loop: ours ends at a tenth
of the rate and spares embeddings and norms the weight decay, the other ends at 0.

- `ours`: a `Composer`, by `training.fit` as `scripts/train.py` runs it, without re-orchestration,
  calm and source weights, since the peer has none;
- `remi`: `transformers.LlamaForCausalLM` by the loop of its documentation (AdamW, `get_scheduler`,
  the pieces end to end in blocks of the context), until it has seen as many tokens as ours;
- `remi notes`: the same, until it has seen as many notes.

MidiTok encodes the prepared pieces themselves (`tokens.remi` has its configuration): meters, the
grid, the twelve families and C major or A minor are given to the peer as they are to ours. A stream
of one then spells the very notes of the other's, and the one difference is that stock REMI writes a
`Program` before every note. Neither has velocities or tempi. Nats per note are over the same pieces
of the test split, each token once, in windows of the context that lie end to end.

What is finished is kept in `--out`, by the number of tokens, and not done again: each side, then
the speeds; an `--out` is for one prepared folder and one state of the code. Speeds count processor
seconds, so that other work on the machine matters less, in rounds that alternate between the two.
Figures go to `peer.md` and `peer.json`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import symusic
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM, get_scheduler

from sonicrx_ml import canonical, tokens
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.dataset import EvaluationWindows, load_labels, load_prepared, load_split
from sonicrx_ml.likelihood import composer_nats
from sonicrx_ml.model import Composer
from sonicrx_ml.notes import Floats, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.recipe import DataConfig, OptimConfig, TrainConfig, TrainerConfig
from sonicrx_ml.sampling import SamplingConfig, stream
from sonicrx_ml.statistics import bootstrap, ratio
from sonicrx_ml.tables import table
from sonicrx_ml.tokens import PITCH, Ids
from sonicrx_ml.training import fit, new_composer

HERE = Path(__file__).parent
PIECES = {"train": 900, "valid": 20, "test": 60}
MODEL = ModelConfig(width=128, layers=4, heads=2, context=512)
LLAMA = {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 2,
         "intermediate_size": 392}  # fmt: skip
BATCH, RATE, WARMUP, DECAY, CLIP, SEED = 4, 2e-3, 50, 0.1, 1.0, 1
ROUNDS, STEPS, STREAMS, LENGTH = 5, 10, (1, 8), 480
Clock = Callable[[], None]


# ---------------------------------------------------------------- the pieces


def draw_pieces(prepared: Path, out: Path) -> None:
    """A prepared folder of so many pieces of each split, drawn at random."""
    (out / "shards").mkdir(parents=True, exist_ok=True)
    labels = []
    for split, count in PIECES.items():
        every = load_labels(prepared, split)
        rng = np.random.default_rng(SEED)
        drawn = rng.choice(every["file"].to_numpy(), count, replace=False)
        chosen = pc.field("file").isin(drawn.tolist())
        labels.append(every.filter(chosen))
        paths = sorted((prepared / "shards").glob(f"{split}-*.parquet"))
        rows = pa.concat_tables(pq.read_table(path, filters=chosen) for path in paths)
        pq.write_table(rows, out / "shards" / f"{split}-00000.parquet")
    pq.write_table(pa.concat_tables(labels), out / "labels.parquet")
    for name in ("vocabulary.json", "bins.json"):
        (out / name).write_bytes((prepared / name).read_bytes())


def stock_streams(pieces: Path, split: str) -> list[Ids]:
    """The pieces of a split by MidiTok itself, from MIDI bytes, with `BOS` and `EOS`."""
    path = pieces / f"remi-{split}.parquet"
    if not path.is_file():
        vocabulary, remi = tokens.Vocabulary.build(), tokens.remi()
        found = []
        for row in load_split(pieces, split):
            notes = canonical.unsnap(tokens.decode(row["tokens"], vocabulary))
            ids = remi.encode(symusic.Score.from_midi(write_midi(notes))).ids
            assert (vocabulary.kind[ids] == PITCH).sum() == len(notes.onset), "notes are lost"
            found.append([vocabulary.bos, *ids, vocabulary.eos])
        pq.write_table(pa.table({"tokens": found}), path)
    return [np.array(ids, dtype=np.uint16) for ids in pq.read_table(path)["tokens"].to_pylist()]


# ---------------------------------------------------------------- training


@dataclass(kw_only=True, slots=True)
class Seen:
    """What a side has learned from, and the processor seconds that it took."""

    tokens: int = 0
    notes: int = 0
    seconds: float = 0.0


class Watch(L.Callback):
    """Counts the notes of a run, and reads a clock after each of its steps."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.notes, self.clock = 0, clock

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any,
                           batch_idx: int) -> None:  # fmt: skip
        self.notes += int(batch.notes)
        if self.clock:
            self.clock()


def train_ours(pieces: Path, out: Path, steps: int, clock: Clock | None = None) -> Any:
    """A composer, and what it has seen."""
    watch = Watch(clock)
    began = time.process_time()
    trainer = fit(
        TrainConfig(
            model=MODEL,
            data=DataConfig(
                prepared=str(pieces), calm=0.0, reorchestrate=0.0, divide=0.0, valid_windows=16
            ),
            optim=OptimConfig(
                lr=RATE,
                max_steps=steps,
                batch_size=BATCH,
                warmup_steps=min(WARMUP, steps - 1),
                final_lr=DECAY,
            ),
            trainer=TrainerConfig(threads=1, valid_every=max(steps, 1), log_every=50),
            out=str(out),
            name="ours",
            seed=SEED,
        ),
        [],
        [watch],
    )
    module: Any = trainer.lightning_module
    seen = Seen(
        tokens=int(module.seen["tokens"]), notes=watch.notes, seconds=time.process_time() - began
    )
    return module.composer, seen


def new_llama(vocabulary: int) -> LlamaForCausalLM:
    torch.manual_seed(SEED)
    size = {"vocab_size": vocabulary, "max_position_embeddings": MODEL.context, **LLAMA}
    return LlamaForCausalLM(LlamaConfig(**size, pad_token_id=0, bos_token_id=1, eos_token_id=2))


def blocks(streams: Sequence[Ids]) -> torch.Tensor:
    """The streams end to end, cut into blocks of the context."""
    joined = np.concatenate(streams).astype(np.int64)
    whole = len(joined) // MODEL.context
    return torch.from_numpy(joined[: whole * MODEL.context].reshape(whole, MODEL.context))


def batches(streams: Sequence[Ids]) -> Iterator[torch.Tensor]:
    """Shuffled blocks, pass after pass."""
    order = torch.Generator().manual_seed(SEED)
    given: Any = blocks(streams)
    loader = DataLoader(given, BATCH, shuffle=True, drop_last=True, generator=order)
    for _ in itertools.count():
        yield from loader


def train_llama(
    streams: Sequence[Ids], vocabulary: tokens.Vocabulary, steps: int, clock: Clock | None = None
) -> Any:
    """A Llama decoder, and what it has seen."""
    torch.set_num_threads(1)
    model = new_llama(len(vocabulary))
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    schedule = get_scheduler("cosine", optimizer, min(WARMUP, steps - 1), steps)
    is_pitch = torch.from_numpy(vocabulary.kind == PITCH)
    seen, began = Seen(), time.process_time()
    model.train()
    for ids in itertools.islice(batches(streams), steps):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        seen.tokens += ids[:, 1:].numel()
        seen.notes += int(is_pitch[ids[:, 1:]].sum())
        if clock:
            clock()
    seen.seconds = time.process_time() - began
    return model.eval(), seen


# ---------------------------------------------------------------- nats per note


@torch.inference_mode()
def llama_nats(model: LlamaForCausalLM, ids: Ids) -> float:
    """Nats of a stream after its `BOS`, each token once, in windows that lie end to end."""
    total, size = 0.0, MODEL.context
    stream_T = torch.from_numpy(ids.astype(np.int64))
    for start in range(0, len(ids) - 1, size):
        window = stream_T[start : start + size + 1]
        logits = model(input_ids=window[None, :-1]).logits[0]
        total += float(F.cross_entropy(logits.float(), window[1:], reduction="sum"))
    return total


def composer_piece_nats(composer: Composer, pieces: Path, free: bool) -> Floats:
    """Nats of each test piece, (pieces,)."""
    rows = load_split(pieces, "test")
    windows = EvaluationWindows(rows, *load_prepared(pieces), MODEL.context, free=free)
    found = composer_nats(composer.eval(), windows, batch_size=4)
    return np.bincount([piece for piece, _ in windows.spans], found)


def per_note(nats: Floats, pieces: Path) -> dict[str, Any]:
    """With an interval over works."""
    labels = load_labels(pieces, "test")
    columns = np.stack([nats, labels["n_notes"].to_numpy()], axis=1)
    return bootstrap(columns, ratio, groups=labels["group"].to_pylist()).to_dict()


# ---------------------------------------------------------------- the sides


def run_ours(pieces: Path, out: Path, goal: int) -> dict[str, Any]:
    composer, seen = train_ours(pieces, out, goal // (BATCH * MODEL.context))
    torch.save(composer.state_dict(), out / "ours.pt")
    nats = {name: composer_piece_nats(composer, pieces, free)
            for name, free in (("told", False), ("told nothing", True))}  # fmt: skip
    return {
        "parameters": sum(p.numel() for p in composer.parameters()),
        "seen": vars_of(seen),
        "nats_per_note": {name: per_note(each, pieces) for name, each in nats.items()},
    }


def run_llama(pieces: Path, out: Path, steps: int, name: str) -> dict[str, Any]:
    vocabulary, _ = load_prepared(pieces)
    model, seen = train_llama(stock_streams(pieces, "train"), vocabulary, steps)
    model.save_pretrained(out / name)
    nats = np.array([llama_nats(model, ids) for ids in stock_streams(pieces, "test")])
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seen": vars_of(seen),
        "nats_per_note": {"told nothing": per_note(nats, pieces)},
    }


def vars_of(seen: Seen) -> dict[str, float]:
    return {"tokens": seen.tokens, "notes": seen.notes, "seconds": round(seen.seconds, 1)}


def sides(pieces: Path, out: Path, goal: int) -> dict[str, Any]:
    """Every side, from `out` where it is finished."""
    ours = kept(out / "ours.json", lambda: run_ours(pieces, out, goal))
    step = BATCH * (MODEL.context - 1)
    steps = round(ours["seen"]["tokens"] / step)
    remi = kept(out / "remi.json", lambda: run_llama(pieces, out, steps, "remi"))
    more = round(steps * ours["seen"]["notes"] / remi["seen"]["notes"])
    notes = kept(out / "remi-notes.json", lambda: run_llama(pieces, out, more, "remi-notes"))
    return {"ours": ours, "remi": remi, "remi notes": notes}


def kept(path: Path, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, once."""
    if not path.is_file():
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(make(), indent=1) + "\n")
        partial.replace(path)
        print(path.read_text(), flush=True)
    found: dict[str, Any] = json.loads(path.read_text())
    return found


# ---------------------------------------------------------------- speeds


def training_speed(pieces: Path, out: Path) -> dict[str, Any]:
    """Tokens a processor second of each side, a figure a round, in turns."""
    vocabulary, _ = load_prepared(pieces)
    streams = stock_streams(pieces, "train")
    rates: dict[str, list[float]] = {"ours": [], "remi": []}
    for _ in range(ROUNDS):
        for name, train in (
            ("ours", lambda clock: train_ours(pieces, out / "speed", STEPS + 1, clock)),
            ("remi", lambda clock: train_llama(streams, vocabulary, STEPS + 1, clock)),
        ):
            times: list[float] = []
            _, seen = train(lambda times=times: times.append(time.process_time()))
            share = seen.tokens / len(times)
            rates[name].append(share * (len(times) - 1) / (times[-1] - times[0]))
    return rates


def sampling_speed(pieces: Path, out: Path) -> dict[str, Any]:
    """Tokens and notes a processor second, {streams: {side: [[tokens, notes] of each round]}}."""
    vocabulary, bins = load_prepared(pieces)
    composer = new_composer(MODEL, vocabulary, bins)
    composer.load_state_dict(torch.load(out / "ours.pt", weights_only=True))
    bundle = Bundle.of(composer, vocabulary, bins)
    llama = LlamaForCausalLM.from_pretrained(out / "remi").eval()
    plain = SamplingConfig(guidance=1.0, masked=False, temperature=1.0, top_p=1.0)

    def ours(streams: int, config: SamplingConfig) -> list[Ids]:
        plans = [plan(Prescription(duration_s=30, seed=seed)) for seed in range(streams)]
        return [ids for _, ids in stream(bundle, plans, range(streams), config)]

    def remi(streams: int) -> list[Ids]:
        torch.manual_seed(SEED)
        prompt = torch.tensor([[vocabulary.bos, vocabulary.bar]]).expand(streams, -1)
        made = llama.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_k=0,
            min_new_tokens=LENGTH, max_new_tokens=LENGTH,
        )  # fmt: skip
        return list(made.numpy().astype(np.uint16))

    peers: dict[str, Callable[[int], list[Ids]]] = {
        "ours, grammar only": lambda streams: ours(streams, plain),
        "ours, under its rules": lambda streams: ours(streams, SamplingConfig()),
        "remi": remi,
    }
    found: dict[str, Any] = {}
    for streams in STREAMS:
        rates: dict[str, list[Any]] = {name: [] for name in peers}
        for turn in range(ROUNDS + 1):
            for name, sample in peers.items():
                began = time.process_time()
                made = np.concatenate(sample(streams))
                took = time.process_time() - began
                notes = int((vocabulary.kind[made] == PITCH).sum())
                if turn:  # the first one warms up
                    rates[name].append([len(made) / took, notes / took])
        found[str(streams)] = rates
    return found


# ---------------------------------------------------------------- the page


def page(found: dict[str, Any]) -> str:
    about, sides_of = found["about"], found["sides"]
    ours, remi = sides_of["ours"], sides_of["remi"]
    rows = []
    for name, side in sides_of.items():
        seen = side["seen"]
        for told, estimate in side["nats_per_note"].items():
            text = f"{estimate['value']:.2f} [{estimate['low']:.2f}, {estimate['high']:.2f}]"
            rows.append([f"{name}, {told}", f"{side['parameters']:,}", f"{seen['tokens']:,}",
                         f"{seen['notes']:,}", text])  # fmt: skip
    speed = {name: statistics.median(rates) for name, rates in found["training"].items()}
    per_note_of = {name: side["seen"]["tokens"] / side["seen"]["notes"]
                   for name, side in (("ours", ours), ("remi", remi))}  # fmt: skip
    training = [
        [name, f"{rate:,.0f}", f"{rate / per_note_of[name]:,.0f}",
         f"{rate / speed['remi']:.2f}",
         f"{rate / per_note_of[name] / (speed['remi'] / per_note_of['remi']):.2f}"]
        for name, rate in speed.items()
    ]  # fmt: skip
    sampling = []
    for streams, rates in found["sampling"].items():
        middle = {name: np.median(each, axis=0) for name, each in rates.items()}
        for name, figures in middle.items():
            against = figures / middle["remi"]
            sampling.append([streams, name, *(f"{x:,.0f}" for x in figures),
                             *(f"{x:.2f}" for x in against)])  # fmt: skip
    lines = [
        "# Against stock REMI and a stock Llama decoder",
        "",
        "How: `benchmarks/peer.py`. " + ", ".join(f"{k} {v}" for k, v in about.items()) + ".",
        "",
        "Both learn from the same pieces and are tested on the same; the peer is given our meters,",
        "grid, families and canonical key, so that both streams spell the same notes. They differ",
        "in this: stock REMI writes a `Program` before every note, ours only where it changes",
        f"({per_note_of['remi']:.2f} and {per_note_of['ours']:.2f} tokens a note); ours is told",
        "conditions in training, at times none. Rates were not tuned, and each side has its loop's",
        "own AdamW and final rate. *Told nothing* compares the two; *told* shows what conditions",
        "are worth, which are computed from the notes being predicted.",
        "",
        *table(["side", "parameters", "tokens seen", "notes seen", "nats a note"], rows),
        "",
        "Intervals: 95 %, bootstrap over works. `remi notes` has seen as many notes as ours.",
        "",
        "## Training speed",
        "",
        "A processor second of one thread; medians of rounds in turns, batches and optimiser",
        "included.",
        "",
        *table(["side", "tokens/s", "notes/s", "tokens, ratio", "notes, ratio"], training),
        "",
        "## Sampling speed",
        "",
        f"`generate` with its cache writes {LENGTH} tokens a stream; ours writes 30 s of music, as",
        "the plain network held to the grammar, and as it is shipped (all rules and wishes).",
        "",
        *table(
            ["streams", "side", "tokens/s", "notes/s", "tokens, ratio", "notes, ratio"], sampling
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepared", type=Path, default=Path("data/corpus"))
    parser.add_argument("--out", type=Path, default=Path("outputs/peer"))
    parser.add_argument("--tokens", type=int, default=1_000_000)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # read as the decoder's session begins
    out = given.out / str(given.tokens)
    pieces = out / "pieces"
    if not (pieces / "bins.json").is_file():
        draw_pieces(given.prepared, pieces)
    found = {
        "about": {
            "pieces": "/".join(map(str, PIECES.values())),
            "context": MODEL.context,
            "threads": 1,
            "python": platform.python_version(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "miditok": version("miditok"),
        },
        "sides": sides(pieces, out, given.tokens),
        "training": kept(out / "training.json", lambda: training_speed(pieces, out)),
        "sampling": kept(out / "sampling.json", lambda: sampling_speed(pieces, out)),
    }
    (HERE / "peer.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "peer.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
