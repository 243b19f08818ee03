"""The release bundle: what goes in comes out, and what disagrees is refused by name."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from sonicrx_ml import checkpoint
from sonicrx_ml.labels import condition_sizes

SHIPPED = Path(__file__).parents[1] / "checkpoints" / "small"
FACTS = {"steps": 3, "run": {"name": "test"}}


@pytest.fixture(scope="module")
def exported(bundle, tmp_path_factory):
    where = tmp_path_factory.mktemp("exported") / "small"
    checkpoint.export(
        where, bundle.composer, bundle.vocabulary, bundle.bins, FACTS, "# Card\n", half=False
    )
    return where


@pytest.fixture
def folder(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "small")


def edit(path, change):
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def edit_tensors(folder, change):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def test_round_trip(bundle, folder):
    found = checkpoint.load(folder)
    assert found.vocabulary == bundle.vocabulary
    assert found.bins == bundle.bins
    assert found.config["training"] == FACTS
    assert len(found.sha256) == 64
    assert not found.composer.training
    torch.testing.assert_close(
        found.composer.state_dict(), bundle.composer.state_dict(), rtol=0, atol=0
    )
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "bins.json", "config.json", "model.safetensors", "tokenizer.json",
        "vocabulary.json",
    }  # fmt: skip
    assert (folder / "README.md").read_text() == "# Card\n"


def test_half_precision_rounds_and_nothing_more(bundle, tmp_path):
    checkpoint.export(tmp_path / "half", bundle.composer, bundle.vocabulary, bundle.bins, FACTS, "")
    found = checkpoint.load(tmp_path / "half").composer.state_dict()
    rounded = {name: w.half().float() for name, w in bundle.composer.state_dict().items()}
    torch.testing.assert_close(found, rounded, rtol=0, atol=0)


def test_the_tokenizer_is_miditok_s_own(bundle, folder):
    import miditok

    tokenizer = miditok.REMI(params=folder / "tokenizer.json")
    assert tuple(sorted(tokenizer.vocab, key=tokenizer.vocab.get)) == bundle.vocabulary.names


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "vocabulary.json", "bins.json"]
)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(ValueError, match=f"is not a bundle: {name} is missing"):
        checkpoint.load(folder)


@pytest.mark.parametrize("name", ["config.json", "vocabulary.json", "bins.json"])
@pytest.mark.parametrize("text", ['{"a": ', "[1, 2", "\x00", "3"])
def test_broken_json_is_refused_by_file(folder, name, text):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=name):
        checkpoint.load(folder)


def rename_token(names):
    names[5] = "Pitch_0"


def more_bins(values):
    values["energy"].append(0.9)


def moved_bins(values):
    values["energy"][1] += 0.01


def shuffled_bins(values):
    values["energy"].reverse()


DISAGREEMENTS = {
    "vocabulary": ("vocabulary.json", rename_token, "the bundle's vocabulary disagree"),
    "bins": ("bins.json", more_bins, "the bundle's bins disagree"),
    "moved edges": ("bins.json", moved_bins, "the bundle's bin edges disagree"),
    "remaining": (
        "config.json",
        lambda v: v["conditions"]["remaining"].__setitem__(-1, 96),
        r"edges of the bars that remain disagree: .*65, 96\] is not .*65, 97\]",
    ),
    "no remaining": (
        "config.json",
        lambda v: v["conditions"].pop("remaining"),
        "edges of the bars that remain disagree: None",
    ),
    "edges": ("bins.json", shuffled_bins, "bins.json: bin edges of energy do not increase"),
    "attributes": ("bins.json", lambda v: v.pop("tempo"), "bins.json: bins are for"),
    "conditions": (
        "config.json",
        lambda v: v["conditions"]["names"].reverse(),
        "the bundle's conditions disagree",
    ),
    "families": (
        "config.json",
        lambda v: v["families"].update(piano=3),
        "the bundle's families disagree",
    ),
    "format": ("config.json", lambda v: v.update(format=9), "format 9; this version reads 2"),
    "no model": ("config.json", lambda v: v.pop("model"), "config.json: lacks model"),
    "model": ("config.json", lambda v: v.update(model=3), "model 3 is not a JSON object"),
    "setting": ("config.json", lambda v: v["model"].update(wings=2), "wings"),
    "type": ("config.json", lambda v: v["model"].update(width="wide"), "wide"),
    "size": ("config.json", lambda v: v["model"].update(width=30, heads=4), "model.width=30"),
    "wider": ("config.json", lambda v: v["model"].update(width=64), "has shape"),
    "deeper": (
        "config.json",
        lambda v: v["model"].update(layers=3),
        "tensor blocks.2.attention_norm.weight is missing",
    ),
}


def test_who_made_the_music_goes_along(bundle, tmp_path):
    parts = bundle.composer, bundle.vocabulary, bundle.bins
    checkpoint.export(tmp_path / "small", *parts, FACTS, "", attribution="source\nÉtudes\n")
    assert (tmp_path / "small" / "attribution.csv").read_text("utf-8") == "source\nÉtudes\n"
    checkpoint.load(tmp_path / "small")


def test_the_shipped_bundle_names_authors_and_says_so():
    checkpoint.load(SHIPPED)
    table = (SHIPPED / "attribution.csv").read_text("utf-8")
    assert '"Chopin, Fryderyk"' in table
    assert len(table.encode()) < 300_000
    assert "`attribution.csv`" in (SHIPPED / "README.md").read_text()


@pytest.mark.parametrize("case", DISAGREEMENTS)
def test_parts_that_disagree_are_named(folder, case):
    name, change, message = DISAGREEMENTS[case]
    edit(folder / name, change)
    with pytest.raises(ValueError, match=message):
        checkpoint.load(folder)


def test_tensors_that_disagree_are_named(folder):
    edit_tensors(folder, lambda t: t.update(wings=np.zeros(2)))
    with pytest.raises(ValueError, match="tensor wings is unknown"):
        checkpoint.load(folder)
    edit_tensors(folder, lambda t: (t.pop("wings"), t.pop("norm.weight")))
    with pytest.raises(ValueError, match=r"tensor norm\.weight is missing"):
        checkpoint.load(folder)
    edit_tensors(folder, lambda t: t.update({"norm.weight": np.zeros(5)}))
    with pytest.raises(ValueError, match=r"norm\.weight has shape \(5,\), .* needs \(32,\)"):
        checkpoint.load(folder)


def test_truncated_weights_are_refused(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        checkpoint.load(folder)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("loading ran code",))


def test_a_pickle_in_the_place_of_weights_is_not_run(folder):
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"model\.safetensors"):
        checkpoint.load(folder)


def test_config_values_are_never_resolved(folder, monkeypatch):
    monkeypatch.setenv("SECRET", "open")
    edit(folder / "config.json", lambda v: v["training"].update(note="${oc.env:SECRET}"))
    assert checkpoint.load(folder).config["training"]["note"] == "${oc.env:SECRET}"


def test_export_replaces_the_older_bundle_and_leaves_nothing_else(bundle, folder):
    (folder / "stale").touch()
    checkpoint.export(folder, bundle.composer, bundle.vocabulary, bundle.bins, FACTS, "# New\n")
    assert (folder / "README.md").read_text() == "# New\n"
    assert not (folder / "stale").exists()
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_export_that_fails_keeps_the_older_bundle(bundle, folder):
    with pytest.raises(TypeError):
        checkpoint.export(
            folder, bundle.composer, bundle.vocabulary, bundle.bins, {"x": object()}, "# New\n"
        )
    assert checkpoint.load(folder).config["training"] == FACTS


def test_a_replacement_killed_half_way_is_undone_by_the_next(tmp_path):
    folder, made = tmp_path / "a", tmp_path / "b"
    (tmp_path / ".a.old").mkdir()
    (tmp_path / ".a.old" / "kept").touch()
    with pytest.raises(FileNotFoundError):
        checkpoint.replace_folder(made, folder)
    assert (folder / "kept").exists()
    made.mkdir()
    checkpoint.replace_folder(made, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_decoder_remembers_is_at_most_the_context(bundle):
    context = bundle.size.context
    assert bundle.decoder().config.context == context
    assert bundle.decoder(10 * context) is bundle.decoder()
    short = bundle.decoder(8)
    assert short.config.context == 8
    ids = np.arange(2, 22)
    conditions = np.zeros((1, 1, len(condition_sizes(bundle.bins))), np.int64)
    found = []
    for decoder in (short, bundle.decoder()):
        injected, cache = decoder.inject(conditions), decoder.new_cache(1)
        steps = (decoder.step(ids[i : i + 1], injected[:, :, 0], cache) for i in range(20))
        found.append([logits.copy() for logits in steps])
    same = [np.allclose(a, b, atol=1e-5) for a, b in zip(*found, strict=True)]
    assert same[:8] == [True] * 8
    assert same[8:] == [False] * 12


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"training": {"run": {"name": "small", "model": {"width": 256}}}}, "small"),
        ({"training": {"run": "small"}}, None),
        ({"training": {"run": {"name": ["small"]}}}, None),
        ({"training": ["run"]}, None),
        ({}, None),
    ],
)
def test_a_bundle_has_the_name_of_its_run(bundle, config, name):
    assert replace(bundle, config=config).name == name
