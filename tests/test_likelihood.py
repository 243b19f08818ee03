"""Nats per note: every token once, equal to slow sums, kept between runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from sonicrx_ml import likelihood, ngram
from sonicrx_ml.architecture import ModelConfig
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.dataset import EvaluationWindows, load_labels, load_split
from sonicrx_ml.labels import Bins, condition_sizes
from sonicrx_ml.likelihood import Scores
from sonicrx_ml.model import Composer
from sonicrx_ml.shards import prepare_etudes
from sonicrx_ml.tokens import Vocabulary


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("etudes")
    prepare_etudes(folder, 30)
    return folder


@pytest.fixture(scope="module")
def bundle(prepared):
    torch.manual_seed(0)
    vocabulary, bins = Vocabulary.build(), Bins.load(prepared / "bins.json")
    size = ModelConfig(width=16, layers=1, heads=2, context=100)
    composer = Composer(size, len(vocabulary), condition_sizes(bins))
    with torch.no_grad():  # far enough from zero for conditions to matter
        for weight in composer.parameters():
            weight.mul_(10)
    return Bundle.of(composer, vocabulary, bins)


def invented(group):
    """Three windows, each of a piece of its own, of 1, 2 and 3 notes."""
    told = np.array([2.0, 1.0, 3.0])
    return Scores(
        {likelihood.COMPOSER: told, likelihood.FREE: told + 1, likelihood.NGRAM: told + 4},
        notes=np.array([1, 2, 3]),
        tokens=np.array([3, 6, 9]),
        piece=np.arange(3),
        group=np.array(group),
        source=np.array(["etudes"] * 3),
    )


def pieces(prepared, split):
    return [row["tokens"] for row in load_split(prepared, split)]


def test_every_token_and_note_counts_once(prepared, bundle, tmp_path):
    scores = likelihood.score(bundle, prepared, tmp_path, order=3)
    labels = load_labels(prepared, "test")
    found = likelihood.estimates(scores)
    assert found["tokens"] == sum(labels["n_tokens"].to_pylist())
    assert found["notes"] == sum(labels["n_notes"].to_pylist())
    assert found["pieces"] == len(labels)
    assert found["works"] == found["nats_per_note"][likelihood.NGRAM].n
    assert found["works"] == len(set(labels["group"].to_pylist()))
    assert set(found["by_source"]) == set(labels["source"].to_pylist())


def test_the_ngram_is_that_of_whole_pieces(prepared, bundle, tmp_path):
    model = ngram.fit(pieces(prepared, "train"), 3, len(bundle.vocabulary))
    whole = sum(model.nats(tokens).sum() for tokens in pieces(prepared, "test"))
    scores = likelihood.score(bundle, prepared, tmp_path, order=3)
    assert scores.nats[likelihood.NGRAM].sum() == pytest.approx(whole)


def test_the_composer_is_summed_token_by_token(prepared, bundle):
    rows = load_split(prepared, "test")
    windows = EvaluationWindows(rows, bundle.vocabulary, bundle.bins, 100, limit=3)
    found = likelihood.composer_nats(bundle.composer, windows, batch_size=2)
    assert len(found) == len(windows) == 3
    for index, nats in enumerate(found):
        window = windows[index]
        ids = torch.from_numpy(window["ids"])[None]
        with torch.no_grad():
            logits = bundle.composer(
                ids[:, :-1],
                torch.from_numpy(window["bar"])[None, :-1],
                torch.from_numpy(window["conditions"])[None],
            )
        logs = logits.log_softmax(-1)[0]
        slow = -sum(float(logs[t, token]) for t, token in enumerate(ids[0, 1:]))
        assert nats == pytest.approx(slow, rel=1e-5)


def test_free_is_not_told_and_sums_are_kept(prepared, bundle, tmp_path, monkeypatch):
    scores = likelihood.score(bundle, prepared, tmp_path, order=2, limit=4)
    assert not np.allclose(scores.nats[likelihood.COMPOSER], scores.nats[likelihood.FREE])
    monkeypatch.setattr(likelihood, "composer_nats", None)  # would fail if it were called
    monkeypatch.setattr(ngram, "fit", None)
    again = likelihood.score(bundle, prepared, tmp_path, order=2, limit=4)
    assert {n: v.tolist() for n, v in again.nats.items()} == {
        n: v.tolist() for n, v in scores.nats.items()
    }


def test_the_ngram_is_held_against_a_composer_that_is_told_as_little():
    scores = invented(group=["a", "b", "c"])
    found = likelihood.estimates(scores)
    gains = {name: gain.value for name, gain in found["gain"].items()}
    assert gains == {likelihood.GAIN: 1.5, likelihood.WORTH: 0.5}  # (18 - 9) / 6, (9 - 6) / 6


def test_pieces_of_a_work_are_drawn_together():
    apart = likelihood.estimates(invented(["a", "b", "c"]))["nats_per_note"][likelihood.COMPOSER]
    together = likelihood.estimates(invented(["a", "a", "a"]))["nats_per_note"]
    assert (apart.n, together[likelihood.COMPOSER].n) == (3, 1)
    assert apart.low < apart.value < apart.high
    found = together[likelihood.COMPOSER]
    assert found.low == found.value == found.high, "one work: nothing to draw"


def test_other_code_forgets_the_composers_sums_and_keeps_the_ngrams(
    prepared, bundle, tmp_path, monkeypatch
):
    likelihood.score(bundle, prepared, tmp_path, order=2, limit=2)
    monkeypatch.setattr(likelihood, "_code_sha256", lambda: "other")
    monkeypatch.setattr(ngram, "fit", None)  # would fail if it were called
    likelihood.score(bundle, prepared, tmp_path, order=2, limit=2)
    assert len(list(tmp_path.glob("*.npy"))) == 1 + 2 * 2


def test_another_vocabulary_is_refused(prepared, bundle, tmp_path):
    other = replace(bundle, vocabulary=Vocabulary(bundle.vocabulary.names[::-1]))
    with pytest.raises(ValueError, match="the checkpoint needs"):
        likelihood.score(other, prepared, tmp_path)
