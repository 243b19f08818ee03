"""Training on sixteen etudes: it learns, it resumes as if never stopped, its figures are right."""

from __future__ import annotations

import csv
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import hydra
import lightning as L
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from sonicrx_ml import checkpoint, monitor
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.config import plain, register
from sonicrx_ml.dataset import (
    EvaluationWindows,
    TrainingWindows,
    load_labels,
    load_prepared,
    load_split,
)
from sonicrx_ml.dataset import piece_weights as weights_of
from sonicrx_ml.loaders import Shard, TrainingStream
from sonicrx_ml.recipe import OptimConfig, TrainConfig
from sonicrx_ml.release import release
from sonicrx_ml.training import (
    METRIC,
    Training,
    best_checkpoint,
    find_checkpoint,
    fit,
    new_composer,
    peak_flops,
    token_flops,
)

ROOT = Path(__file__).parents[1]
SMALL = (
    "model=tiny", "model.width=32", "model.layers=1", "model.context=64",
    "optim.max_steps=6", "optim.warmup_steps=2", "optim.batch_size=4", "optim.lr=0.01",
    "trainer.valid_every=3", "trainer.log_every=1", "data.valid_windows=8", "data.etudes=0",
)  # fmt: skip

register("train", TrainConfig)


@pytest.fixture
def configure(prepared, tmp_path):
    """The project's own configs, shrunk, over the session's etudes."""

    def compose(*overrides: str) -> TrainConfig:
        given = [*SMALL, f"data.prepared={prepared}", f"out={tmp_path}", *overrides]
        with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return plain(hydra.compose("train", given), TrainConfig)

    return compose


class Losses(L.Callback):
    """Losses by step, and what else a test wants to know."""

    def __init__(self):
        self.train, self.valid, self.lr = [], [], []

    def on_train_batch_end(self, trainer, *_):
        self.train.append(float(trainer.callback_metrics["train/loss"]))
        self.lr.append(float(trainer.callback_metrics["train/lr"]))

    def on_validation_end(self, trainer, *_):
        self.valid.append(float(trainer.callback_metrics[METRIC]))


class Kill(L.Callback):
    """Ends the run as a signal would, before a batch (counted from 0)."""

    def __init__(self, before):
        self.before = before

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx + 1 == self.before:
            raise RuntimeError("killed")


def run(cfg, *callbacks):
    losses = Losses()
    trainer = fit(cfg, [], [losses, *callbacks])
    return losses, trainer


def weights(trainer):
    return {k: v.clone() for k, v in trainer.lightning_module.composer.state_dict().items()}


def test_the_loss_goes_down(configure):
    cfg = configure("optim.max_steps=30", "trainer.valid_every=3")
    losses, _ = run(cfg)
    assert len(losses.train) == 30
    # untrained, every one of the 333 tokens is about as likely
    assert losses.train[0] == pytest.approx(math.log(333), abs=0.5)
    assert np.mean(losses.train[-5:]) < losses.train[0] - 1.5
    assert losses.valid[-1] < losses.valid[0] - 2


@pytest.mark.parametrize(("accumulate", "stop", "valid"), [(1, 3, 2), (1, 3, 3), (2, 2, 3)])
def test_a_killed_run_resumed_is_the_uninterrupted_one(configure, accumulate, stop, valid):
    """In the middle of an epoch, between validations or at one, at once or accumulated."""
    given = [f"optim.accumulate={accumulate}", f"trainer.valid_every={valid}", "model.dropout=0.0"]
    whole, trainer = run(configure("name=whole", *given))
    cfg = configure("name=killed", *given)
    keep = ModelCheckpoint(cfg.folder, "last", every_n_train_steps=stop)
    with pytest.raises(RuntimeError, match="killed"):
        run(cfg, keep, Kill(before=(stop + 1) * accumulate))
    (saved,) = cfg.folder.glob("*.ckpt")
    resumed, again = run(configure("name=killed", *given, f"resume='{saved}'"), keep)
    assert resumed.train == whole.train[stop * accumulate :]
    assert resumed.lr == whole.lr[stop * accumulate :]
    assert resumed.valid == whole.valid[-len(resumed.valid) :]
    torch.testing.assert_close(weights(again), weights(trainer), rtol=0, atol=0)
    assert again.global_step == 6


def test_time_and_tokens_are_counted_through_a_resumption(configure, prepared):
    _, trainer = run(configure("optim.max_steps=4"))
    once = dict(trainer.lightning_module.seen)
    _, trainer = run(configure("optim.max_steps=6", "resume=last"))
    twice = trainer.lightning_module.seen
    windows = stream_windows(configure(), prepared)
    counted = [sum(len(windows[i]["ids"]) - 1 for i in range(n * 4)) for n in (4, 6)]
    assert [once["tokens"], twice["tokens"]] == counted
    assert 0 < once["seconds"] < twice["seconds"]
    assert twice[METRIC] == trainer.callback_metrics[METRIC]


def stream_windows(cfg, prepared):
    vocabulary, bins = load_prepared(prepared)
    chances = weights_of(load_labels(prepared, "train"), cfg.data)
    rows = load_split(prepared, "train")
    return TrainingWindows(rows, vocabulary, bins, cfg.model.context, chances, cfg.data, cfg.seed)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on one core
def test_batches_do_not_depend_on_ranks_workers_or_starts(configure, prepared):
    windows = stream_windows(configure(), prepared)

    def batches(size, first, rank, ranks, count):
        stream = iter(TrainingStream(windows, size, first, rank, ranks))
        return [next(stream).ids_BT for _ in range(count)]

    whole = torch.cat(batches(4, 0, 0, 1, 4))
    assert torch.equal(torch.cat(batches(4, 2, 0, 1, 2)), whole[8:])
    by_rank = [batches(2, 0, rank, 2, 4) for rank in (0, 1)]
    assert torch.equal(torch.cat([b for pair in zip(*by_rank, strict=True) for b in pair]), whole)
    loader = torch.utils.data.DataLoader(TrainingStream(windows, 4, 0, 0, 1), None, num_workers=2)
    loaded = iter(loader)
    assert torch.equal(torch.cat([next(loaded).ids_BT for _ in range(4)]), whole)


def test_validation_figures_by_hand(configure, prepared):
    losses, trainer = run(configure("optim.max_steps=3", "optim.warmup_steps=0"))
    composer = trainer.lightning_module.composer.eval()
    vocabulary, bins = load_prepared(prepared)
    windows = EvaluationWindows(load_split(prepared, "valid"), vocabulary, bins, 64, limit=8)
    nats = tokens = notes = 0.0
    for i in range(len(windows)):
        one = windows.collate([windows[i]])
        logits = composer(one.ids_BT, one.bar_BT, one.conditions_BKA)[0]
        for place, target in enumerate(one.targets_BT[0].tolist()):
            if target != vocabulary.pad:
                nats -= float(F.log_softmax(logits[place].detach(), dim=0)[target])
                tokens += 1
                notes += vocabulary.names[target].startswith("Pitch")
    assert float(trainer.callback_metrics["valid/loss"]) == pytest.approx(nats / tokens, rel=1e-5)
    assert losses.valid == [pytest.approx(nats / notes, rel=1e-5)]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_the_validation_windows_are_shared_out_once_each(prepared, ranks):
    vocabulary, bins = load_prepared(prepared)
    windows = EvaluationWindows(load_split(prepared, "valid"), vocabulary, bins, 64, limit=4)
    assert len(windows) == 4
    shards = [Shard(windows, rank, ranks) for rank in range(ranks)]
    assert len({len(shard) for shard in shards}) == 1
    batches = [windows.collate([s[i] for i in range(len(s))]) for s in shards]
    whole = windows.collate([windows[i] for i in range(4)])
    tokens = sum(int((batch.targets_BT != 0).sum()) for batch in batches)
    assert tokens == int((whole.targets_BT != 0).sum())
    assert sum(int(b.notes) for b in batches) == int(whole.notes)


def new_training(configure, *overrides, compiled=False):
    cfg = configure(*overrides)
    composer = new_composer(cfg.model, *load_prepared(Path(cfg.data.prepared)))
    return Training(composer, cfg.optim, compiled)


def test_only_the_matrices_of_the_blocks_decay(configure):
    training = new_training(configure)
    names = {id(p): name for name, p in training.composer.named_parameters()}
    groups = training.configure_optimizers()["optimizer"].param_groups
    decay = {names[id(p)]: g["weight_decay"] for g in groups for p in g["params"]}
    assert set(decay) == set(names.values())
    for name, value in decay.items():
        matrix = name.startswith("blocks") and "norm" not in name
        assert value == (0.1 if matrix else 0.0), name


def test_the_rate_rises_linearly_and_falls_by_a_cosine(configure):
    losses, _ = run(configure("optim.max_steps=8", "optim.warmup_steps=4", "optim.lr=0.01"))
    # steps 4 to 7 are at 0, 1/4, 1/2, 3/4 of the cosine from 1 to 0.1
    fall = [0.1 + 0.9 * (1 + math.cos(math.pi * x)) / 2 for x in (0, 0.25, 0.5, 0.75)]
    np.testing.assert_allclose(losses.lr, [0.01 * x for x in (0.25, 0.5, 0.75, 1, *fall)])


def test_training_stops_where_validation_no_longer_improves(configure):
    cfg = configure(
        "optim.max_steps=40", "trainer.valid_every=1", "trainer.patience=2", "optim.lr=1e-12"
    )
    _, trainer = run(cfg, *monitor.callbacks(cfg))
    assert 2 < trainer.global_step < 40
    assert trainer.early_stopping_callback.monitor == METRIC


def test_samples_leave_the_training_as_it_is(configure):
    plain_run, _ = run(configure("name=plain"))
    cfg = configure("name=heard", "trainer.sample_every=3")
    heard, _ = run(cfg, *monitor.callbacks(cfg))
    assert heard.train == plain_run.train
    found = sorted(path.name for path in (cfg.folder / "samples").iterdir())
    assert found == [
        f"step-{step:06d}.{kind}" for step in (3, 6) for kind in ("flac", "mid", "png")
    ]
    assert (cfg.folder / "samples" / "step-000006.png").read_bytes().startswith(b"\x89PNG")


def test_every_run_and_resumption_keeps_its_own_log(configure):
    cfg = configure("optim.max_steps=3")
    fit(cfg, monitor.loggers(cfg), monitor.callbacks(cfg))
    cfg = configure("optim.max_steps=6", "resume=last")
    fit(cfg, monitor.loggers(cfg), monitor.callbacks(cfg))
    logs = [cfg.folder / "log" / f"version_{i}" / "metrics.csv" for i in (0, 1)]
    first, second = (list(csv.DictReader(path.read_text().splitlines())) for path in logs)
    steps = [[int(row["step"]) for row in rows if row["train/loss"]] for rows in (first, second)]
    assert steps == [[0, 1, 2], [3, 4, 5]]
    assert any(row[METRIC] for row in first)
    assert any(row[METRIC] for row in second)


def test_speed_counts_every_micro_batch(configure, monkeypatch):
    from sonicrx_ml import training

    now = itertools.count()
    clock = types.SimpleNamespace(monotonic=lambda: float(next(now)))
    monkeypatch.setattr(training, "time", clock)
    monkeypatch.setattr(training, "CLOCK_S", 0.0)

    class Check(L.Callback):
        batches = tokens = 0

        def on_train_batch_start(self, trainer, module, batch, index):
            if self.batches:  # a batch ends a second after the last look at the clock, two after it
                rate = float(trainer.callback_metrics["train/tokens_per_s"])
                assert rate == self.tokens / 2
                flops = rate * token_flops(module.composer)
                assert float(trainer.callback_metrics["train/gflops"]) == pytest.approx(flops / 1e9)
                share = flops / module.peak
                assert float(trainer.callback_metrics["train/mfu"]) == pytest.approx(share)
            self.tokens = int((batch.targets_BT != 0).sum())
            self.batches += 1

    check = Check()
    run(configure("optim.max_steps=3", "optim.accumulate=2", "trainer.valid_every=9"), check)
    assert check.batches == 6


def test_the_operations_of_a_token(configure):
    """6 a parameter, but for those of bars; a layer's attention 12 x width 32 x context 64."""
    training = new_training(configure, "model.layers=2")
    parameters = sum(weight.numel() for weight in training.composer.parameters())
    of_bars = training.composer.conditions.weight.numel() + 2 * 32 * 32
    assert token_flops(training.composer) == 6 * (parameters - of_bars) + 2 * 12 * 32 * 64


def test_training_stops_when_its_time_is_up(configure):
    cfg = configure("optim.max_steps=100000", "trainer.max_minutes=0.01", "trainer.valid_every=2")
    _, trainer = run(cfg, *monitor.callbacks(cfg))
    assert 0 < trainer.global_step < 100_000
    assert release(best_checkpoint(trainer), cfg.folder / "bundle").is_dir()


def test_time_before_a_resumption_counts(configure):
    given = ("optim.max_steps=100000", "trainer.valid_every=2", "trainer.max_minutes=0.01")
    cfg = configure(*given)
    _, trainer = run(cfg, *monitor.callbacks(cfg))
    cfg = configure(*given, "resume=last")
    _, again = run(cfg, *monitor.callbacks(cfg))
    added = again.global_step - trainer.global_step  # as many again, if it did not count
    assert 2 * added <= trainer.global_step + 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's compiler, of torch
def test_compiled_it_is_the_same_network(configure, prepared):
    """With several numbers of bars, with gradients and without."""
    plain_one, compiled = new_training(configure), new_training(configure, compiled=True)
    compiled.load_state_dict(plain_one.state_dict())
    windows = stream_windows(configure(), prepared)
    for first, last in ((0, 1), (1, 3)):
        batch = windows.collate([windows[i] for i in range(first, last)])
        (expected, count), (found, same) = plain_one.nats(batch), compiled.nats(batch)
        torch.testing.assert_close(found, expected)
        assert count == same
        with torch.no_grad():
            torch.testing.assert_close(compiled.nats(batch)[0], expected)


def test_the_peak_is_a_processor_s():
    """One thread does 2 to 16 fp32 operations a lane and cycle; a whole machine 100 TFLOP/s."""
    config = ModelConfig(width=192, layers=1, heads=3, context=8)
    assert 1e9 < peak_flops(config, torch.device("cpu"), "32-true") < 1e14


# ---------------------------------------------------------------- release


def test_a_checkpoint_becomes_a_bundle_with_a_card(configure, tmp_path):
    cfg = configure("name=mine", "data.calm=0.5")
    cfg.data.source_weights["etudes"] = 2.0
    _, trainer = run(cfg, *monitor.callbacks(cfg))
    best = best_checkpoint(trainer)
    assert best == cfg.folder / "best.ckpt"
    results = tmp_path / "results.json"
    estimate = {"value": 3.25, "low": 3.0, "high": 3.5, "n": 20}
    results.write_text(json.dumps({"likelihood": {"nats_per_note": {"model": estimate}}}))
    found = checkpoint.load(release(best, tmp_path / "bundle", results))
    saved = torch.load(best, weights_only=True)["state_dict"]
    for name, weight in found.composer.state_dict().items():
        torch.testing.assert_close(weight, saved[f"composer.{name}"].half().float())
    facts = found.config["training"]
    assert facts["steps"] in (3, 6)
    assert facts["windows"] == facts["steps"] * 4
    assert facts["run"]["data"]["calm"] == 0.5
    assert facts["valid_nats_per_note"] == pytest.approx(
        min(float(trainer.callback_metrics[METRIC]), facts["valid_nats_per_note"]), abs=1e-4
    )
    assert facts["data"]["sources"][0]["source"] == "etudes"
    assert facts["data"]["sources"][0]["weight"] == 2.0
    page = (tmp_path / "bundle" / "README.md").read_text()
    for expected in (
        "# SonicRx mine", "not a medical device", "calm^0.5", "etudes 2", "CC0-1.0",
        f"{facts['steps']:,} of 6", f"{facts['tokens']:,.0f}", "torch 2.11",
        "| model | 3.25 [3, 3.5] |", "attends to 64 tokens",
        "named in `attribution.csv` beside this card",
    ):  # fmt: skip
        assert expected in page, expected
    assert (tmp_path / "bundle" / "attribution.csv").read_text() == (
        "source,licence,author,pieces,titles\netudes,CC0-1.0,SonicRx,14,\n"
    )


# ---------------------------------------------------------------- errors


def test_a_run_begins_with_the_weights_of_a_bundle(configure, tmp_path):
    """Its own schedule and stream, their weights: rate 0 leaves them as they are."""
    first = configure("name=first", "optim.max_steps=3", "trainer.valid_every=3")
    _, trainer = run(first)
    bundle = checkpoint.load(release(first.folder / "last.ckpt", tmp_path / "bundle"))
    start = f"start={tmp_path / 'bundle'}"
    _, trainer = run(configure("name=second", start, "optim.lr=1e-12"))
    for name, weight in weights(trainer).items():
        np.testing.assert_allclose(weight.numpy(), bundle.weights[name], atol=1e-6)
    folder = release(tmp_path / "second" / "last.ckpt", tmp_path / "again")
    (before,) = json.loads((folder / "config.json").read_text())["training"]["before"]
    assert (before["sha256"], before["steps"], before["windows"]) == (bundle.sha256, 3, 12)
    assert bundle.sha256[:16] in (folder / "README.md").read_text()


def test_a_bundle_of_another_size_is_refused(configure, tmp_path):
    first = configure("name=first", "optim.max_steps=3", "trainer.valid_every=3")
    run(first)
    release(first.folder / "last.ckpt", tmp_path / "bundle")
    with pytest.raises(ValueError, match=r"start: the bundle's model .*'width': 32.*'width': 48"):
        run(configure(f"start={tmp_path / 'bundle'}", "model.width=48"))


def test_a_weight_for_an_unknown_source_stops_the_run(configure):
    cfg = configure()
    cfg.data.source_weights["folk"] = 2.0
    with pytest.raises(ValueError, match=r"data.source_weights: 'folk' .* legal are etudes"):
        run(cfg)


def test_a_folder_that_is_not_prepared_is_named(configure, tmp_path):
    with pytest.raises(ValueError, match=r"data.prepared='.*nowhere' is not a prepared folder"):
        run(configure(f"data.prepared={tmp_path / 'nowhere'}"))


def test_a_checkpoint_that_is_not_there_is_named(configure, tmp_path):
    with pytest.raises(ValueError, match=r"there is no .*run/last.ckpt; .* has no .ckpt file"):
        run(configure("resume=last"))
    (tmp_path / "best.ckpt").touch()
    with pytest.raises(ValueError, match=r"there is no .*last.ckpt; .* has best.ckpt"):
        find_checkpoint(tmp_path, "last")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0.0}, r"optim.lr=0.0; it must be positive"),
        ({"accumulate": 0}, r"optim.accumulate=0; it must be positive"),
        ({"warmup_steps": 10}, r"optim.warmup_steps=10; legal are 0 to 9"),
    ],
)
def test_refuses_impossible_optimisation(values, message):
    with pytest.raises(ValueError, match=message):
        OptimConfig(**({"lr": 0.1, "max_steps": 10, "batch_size": 1, "warmup_steps": 0} | values))


# ---------------------------------------------------------------- whole processes


def script(prepared, tmp_path, *overrides, **environment):
    given = [*SMALL, f"data.prepared={prepared}", f"out={tmp_path}", *overrides]
    return subprocess.run(
        [sys.executable, "-W", "error::UserWarning:sonicrx_ml", "scripts/train.py", *given],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.slow
def test_two_processes_train_as_one_that_accumulates(configure, prepared, tmp_path):
    done = script(
        prepared, tmp_path, "trainer=ddp", "trainer.accelerator=cpu", "optim.batch_size=2",
        "name=two",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one = configure("name=one", "optim.batch_size=2", "optim.accumulate=2")
    _, trainer = run(one)  # two micro-batches in a row instead of side by side
    two = torch.load(tmp_path / "two" / "last.ckpt", weights_only=True)
    assert two["global_step"] == 6
    for name, weight in weights(trainer).items():
        torch.testing.assert_close(
            two["state_dict"][f"composer.{name}"], weight, rtol=1e-3, atol=1e-4
        )
    assert two["seen"][METRIC] == pytest.approx(float(trainer.callback_metrics[METRIC]), rel=1e-4)
    checkpoint.load(tmp_path / "two" / "bundle")


@pytest.mark.slow
def test_wandb_offline_needs_no_network(prepared, tmp_path):
    done = script(
        prepared, tmp_path, "wandb=offline", "trainer.sample_every=3", WANDB_MODE="offline"
    )
    assert done.returncode == 0, done.stderr
    runs = list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert len(runs) == 1
    media = {path.suffix for path in runs[0].rglob("media/**/*") if path.is_file()}
    assert media == {".png", ".flac"}


@pytest.mark.slow
def test_the_script_trains_exports_and_keeps_its_log_short(prepared, tmp_path):
    done = script(prepared, tmp_path, "optim.max_steps=30", "trainer.valid_every=10")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 12
    assert "\r" not in done.stdout
    assert "Warning" not in done.stderr
    bundle = tmp_path / "run" / "bundle"
    before = checkpoint.load(bundle).sha256
    again = script(prepared, tmp_path, "export=best")
    assert again.stdout.strip() == f"bundle: {bundle}"
    assert checkpoint.load(bundle).sha256 == before


class Stop(L.Callback):
    """Ends the run as Ctrl-C would, before a batch (counted from 1)."""

    def __init__(self, before):
        self.before = before

    def on_train_batch_start(self, trainer, *_):
        if trainer.fit_loop.total_batch_idx + 1 == self.before:
            raise KeyboardInterrupt


@pytest.fixture
def interruptible():
    """Lightning has the process ignore Ctrl-C from an interruption on."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def test_a_run_that_is_stopped_by_hand_goes_on_where_it_was(configure, interruptible, capsys):
    whole, _ = run(configure("name=whole"))
    cfg = configure("name=stopped")
    with pytest.raises(SystemExit):
        run(cfg, Stop(4), monitor.Interrupted(cfg.folder / "last.ckpt"))
    assert capsys.readouterr().out == "stopped at step 3: resume=last goes on\n"
    rest, _ = run(configure("name=stopped", "resume=last"))
    assert rest.train == pytest.approx(whole.train[3:], abs=1e-6)


def test_a_run_that_is_stopped_before_its_first_step_promises_nothing(
    configure, interruptible, capsys
):
    cfg = configure()
    with pytest.raises(SystemExit):
        run(cfg, Stop(1), monitor.Interrupted(cfg.folder / "last.ckpt"))
    assert capsys.readouterr().out == ""
    assert not (cfg.folder / "last.ckpt").exists()


def test_a_run_does_not_replace_another_of_its_name(configure):
    cfg = configure("name=mine")
    run(cfg)
    before = (cfg.folder / "last.ckpt").read_bytes()
    for resume in ([], [f"resume={configure('name=other').folder / 'last.ckpt'}"]):
        if resume:
            run(configure("name=other"))
        with pytest.raises(ValueError, match=r"mine has a run \(last.ckpt\): resume=last goes on"):
            run(configure("name=mine", *resume))
    assert (cfg.folder / "last.ckpt").read_bytes() == before


def test_a_csv_log_is_always_kept(configure):
    assert isinstance(monitor.loggers(configure())[0], CSVLogger)
