"""Every test: no network, no experiment log, the same random examples wherever it matters."""

from __future__ import annotations

import ctypes.util
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from sonicrx_ml.checkpoint import Bundle

# Read when the libraries load, so before any test imports one; child processes inherit them.
os.environ["WANDB_MODE"] = "disabled"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores between them
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"

hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")

LOCAL = {"localhost", "127.0.0.1", "::1"}


class NetworkError(RuntimeError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to other machines fail; unix sockets and this machine's own ports work."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _local_only(getattr(socket.socket, name)))


def _local_only(connect: Callable) -> Callable:
    def guarded(self: socket.socket, address):
        if self.family != socket.AF_UNIX and address[0] not in LOCAL:
            raise NetworkError(f"a test connects to {address[0]}; tests use no network")
        return connect(self, address)

    return guarded


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if ctypes.util.find_library("fluidsynth"):
        return
    skip = pytest.mark.skip(reason="libfluidsynth is not installed")
    for item in items:
        if item.get_closest_marker("fluidsynth"):
            item.add_marker(skip)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of sixteen etudes; not to be written to."""
    from sonicrx_ml.shards import prepare_etudes

    folder = tmp_path_factory.mktemp("prepared")
    prepare_etudes(folder, 16)
    return folder


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """A composer that has learned nothing: a few thousand random weights."""
    import torch

    from sonicrx_ml.architecture import ModelConfig
    from sonicrx_ml.checkpoint import Bundle
    from sonicrx_ml.labels import CONDITIONS, Bins
    from sonicrx_ml.tokens import Vocabulary
    from sonicrx_ml.training import new_composer

    vocabulary = Vocabulary.build()
    edges = {"register": (50.0, 60.0, 70.0), "tempo": (60.0, 90.0, 120.0)}
    bins = Bins({name: edges.get(name, (0.2, 0.5, 0.8)) for name in CONDITIONS})
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = ModelConfig(width=32, layers=2, heads=2, context=64)
        composer = new_composer(config, vocabulary, bins)
        for weight in composer.parameters():
            weight.data *= 3.0  # far from uniform, so that what it is told makes a difference
    return Bundle.of(composer, vocabulary, bins)


@pytest.fixture(scope="session")
def small(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that composer's release bundle; not to be written to."""
    from sonicrx_ml import checkpoint

    folder = tmp_path_factory.mktemp("bundle") / "small"
    parts = bundle.composer, bundle.vocabulary, bundle.bins
    checkpoint.export(folder, *parts, training={}, card="", half=False)
    return folder


@pytest.fixture(scope="session")
def drawn_at_random() -> Callable:
    """Draws a stream of a plan, its kinds of token in equal shares, under rules and wishes."""
    import numpy as np

    from sonicrx_ml import rules
    from sonicrx_ml.sampling import SamplingConfig, bounds
    from sonicrx_ml.tokens import EOS, Vocabulary, decode

    vocabulary = Vocabulary.build()

    def drawn(laid, rng):
        held, wishes = bounds([laid], vocabulary, SamplingConfig())
        state, ids = rules.State(1, vocabulary), list[int]()
        while not ids or vocabulary.kind[ids[-1]] != EOS:
            allowed = np.logical_and.reduce([rule.allowed(state)[0] for rule in held])
            assert allowed.any(), [vocabulary.names[i] for i in ids[-12:]]
            assert not state.yielded.any(), [vocabulary.names[i] for i in ids[-12:]]
            for wish in wishes:
                kept = allowed & np.broadcast_to(wish.allowed(state), (1, len(allowed)))[0]
                allowed = kept if kept.any() else allowed
            kind = rng.choice(np.unique(vocabulary.kind[allowed]))
            ids.append(int(rng.choice(np.flatnonzero(allowed & (vocabulary.kind == kind)))))
            state.update(np.array([ids[-1]]))
            assert state.bar_tokens[0] <= rules.TOKENS_PER_BAR + 4
        return decode(np.array(ids), vocabulary)

    return drawn
