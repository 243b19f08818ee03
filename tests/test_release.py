"""What a release says of its data: who made it, and limits that are true of it."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from sonicrx_ml import card
from sonicrx_ml.dataset import load_prepared
from sonicrx_ml.recipe import DataConfig
from sonicrx_ml.release import attribution

MADE_BY = (
    ("a.mid", "Waltz", "Anna", "folk", "CC-BY-SA 3.0", "train"),
    ("b.mid", "Air", "Anna", "folk", "CC-BY-SA 3.0", "train"),
    ("c.mid", "Air", "Anna", "folk", "CC-BY-SA 3.0", "train"),
    ("d.mid", "", "Anna", "folk", "CC-BY-SA 3.0", "train"),
    ("e.mid", "Unheard", "Berta", "folk", "CC-BY-SA 3.0", "test"),
    ("f.mid", "Hymn", "Carl", "church", "Public Domain", "train"),
    ("g.mid", "Song", "Carl", "church", "CC0-1.0 (their LICENSE)", "train"),
    ("h.mid", "Own", "", "folder", "unknown", "train"),
)


@pytest.fixture
def facts(prepared):
    """As of a run over the session's etudes."""
    optim = {"max_steps": 1, "lr": 0.1, "weight_decay": 0.1, "warmup_steps": 0, "decay": 1.0,
             "final_lr": 0.1}  # fmt: skip
    run = {"name": "mine", "model": {"context": 64}, "optim": optim,
           "trainer": {"precision": "32-true"}}  # fmt: skip
    data = card.describe_data(DataConfig(prepared=str(prepared)))
    unknown = dict.fromkeys(("tokens", "hours", "hardware", "valid_nats_per_note"))
    return {"run": run, "data": data, "parameters": 1, "steps": 1, "windows": 1,
            "before": [], "versions": {}} | unknown  # fmt: skip


def write(folder: Path) -> Path:
    with (folder / "attribution.csv").open("w", newline="") as file:
        head = ("file", "title", "composer", "source", "licence", "split")
        csv.writer(file).writerows([head, *MADE_BY])
    return folder


def test_authors_are_named_by_source_and_licence(tmp_path):
    """Of the training split, each title once; none where the licence asks for nothing."""
    text = attribution(write(tmp_path))
    assert text is not None
    assert list(csv.reader(io.StringIO(text))) == [
        ["source", "licence", "author", "pieces", "titles"],
        ["church", "CC0-1.0 (their LICENSE)", "Carl", "1", "Song"],
        ["church", "Public Domain", "Carl", "1", ""],
        ["folder", "unknown", "", "1", "Own"],
        ["folk", "CC-BY-SA 3.0", "Anna", "4", "Air | Waltz"],
    ]


def test_a_folder_that_names_nobody_gives_no_table(tmp_path):
    assert attribution(tmp_path) is None


def test_the_card_says_where_authors_are_named(prepared, facts, tmp_path):
    bins = load_prepared(prepared)[1]
    assert "in `attribution.csv` beside this card" in card.model_card(facts, bins)
    shutil.copy(prepared / "labels.parquet", tmp_path)
    older = card.describe_data(DataConfig(prepared=str(tmp_path)))
    page = card.model_card(facts | {"data": older}, bins)
    assert "attribution.csv" not in page
    assert "named with each piece in the prepared corpus's label table" in page


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        (["etudes"], ["composed from rules"]),
        (["folder"], []),
        (["mutopia", "polish_scores"], ["Western notated music"]),
        (["mutopia", "folder", "etudes"], ["Western notated music", "composed from rules"]),
        (["pop909"], ["commercial pop"]),
    ],
)
def test_limits_of_a_source_are_told_where_it_was_used(prepared, facts, sources, said):
    """Once each, and those of every composer always."""
    rows = [facts["data"]["sources"][0] | {"source": source} for source in sources]
    data = facts["data"] | {"sources": rows}
    page = card.model_card(facts | {"data": data}, load_prepared(prepared)[1])
    limits = page[page.index("## Limits") :]
    for words in ("Western notated music", "composed from rules", "commercial pop"):
        assert limits.count(words) == (words in said)
    assert "- It attends to 64 tokens" in limits
    assert "{" not in limits


def test_the_card_warns_of_tier_b(prepared, facts):
    bins = load_prepared(prepared)[1]
    assert "Tier b was used" not in card.model_card(facts, bins)
    data = facts["data"] | {"tiers": {"a": 12, "b": 3}}
    assert "**Tier b was used**" in card.model_card(facts | {"data": data}, bins)


def test_the_card_names_the_runs_before(prepared, facts):
    bins = load_prepared(prepared)[1]
    assert "began with" not in card.model_card(facts, bins)
    runs = [
        {"sha256": digit * 64, "steps": steps, "windows": 4 * steps, "tokens": None, "hours": 1.5}
        for digit, steps in (("a", 1000), ("b", 20))
    ]
    page = card.model_card(facts | {"before": runs}, bins)
    assert (
        "| began with the weights | bbbbbbbbbbbbbbbb: steps 20, tokens not recorded, hours 1.50"
        in page
    )
    assert "| which began with | aaaaaaaaaaaaaaaa: steps 1,000, tokens" in page


def test_the_card_shows_results_by_column(prepared, facts):
    def estimate(value, n=5):
        return {"value": value, "low": 0.0, "high": 1.0, "n": n}

    results = {
        "about": {"prescriptions": 5},
        "conformance": {
            "raw": {"key passes": estimate(0.25), "anchor passes": estimate(None, 0)},
            "masked": {"key passes": estimate(0.75), "mode passes": estimate(0.5)},
        },
    }
    page = card.model_card(facts, load_prepared(prepared)[1], results)
    assert "| key passes | 0.25 [0, 1] (5) | 0.75 [0, 1] (5) |" in page
    assert "| mode passes |  | 0.5 [0, 1] (5) |" in page
    assert "anchor passes" not in page
    assert "prescriptions 5" in page
