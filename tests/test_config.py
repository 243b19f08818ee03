"""Configs: every file composes, unknown names are refused, and nothing in them is ever run."""

from __future__ import annotations

from pathlib import Path

import hydra
import pytest
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from sonicrx_ml.config import (
    EvaluateConfig,
    PrepareConfig,
    SampleConfig,
    SessionsConfig,
    plain,
    register,
)
from sonicrx_ml.recipe import TrainConfig

CONFIGS = Path(__file__).parents[1] / "configs"
ROOTS = {
    "prepare": (PrepareConfig, ["data.root=midi"]),
    "train": (TrainConfig, []),
    "sample": (SampleConfig, []),
    "evaluate": (EvaluateConfig, []),
    "sessions": (SessionsConfig, ["listener=L-17"]),
}
GROUPS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in CONFIGS.glob("*/*.yaml")
    if path.parent.name != "suite"
)

for root, (kind, _) in ROOTS.items():
    register(root, kind)


def compose(root, *overrides):
    kind, required = ROOTS[root]
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        return plain(hydra.compose(root, [*required, *overrides]), kind)


@pytest.mark.parametrize("root", [path.stem for path in sorted(CONFIGS.glob("*.yaml"))])
def test_every_root_composes(root):
    assert isinstance(compose(root), ROOTS[root][0])


@pytest.mark.parametrize("choice", GROUPS)
def test_every_choice_of_a_group_composes(choice):
    given = ["data.prepared=mine"] if choice == "data=folder" else []
    assert isinstance(compose("train", choice, *given), TrainConfig)


@pytest.mark.parametrize("path", sorted((CONFIGS / "suite").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_suite_composes(path):
    assert compose("evaluate", f"suite={path.stem}").suite.prescriptions


def test_an_experiment_beats_the_groups_and_the_command_line_the_experiment():
    plain_run, experiment = compose("train"), compose("train", "experiment=small")
    assert plain_run.name == "run"
    assert experiment.name == "small"
    assert experiment.data.prepared == "data/corpus"
    assert compose("train", "experiment=small", "name=mine").name == "mine"


@pytest.mark.parametrize("root", ROOTS)
@pytest.mark.parametrize("sign", ["", "+", "++"])
def test_unknown_keys_are_refused(root, sign):
    with pytest.raises((ConfigCompositionException, ValueError), match="wings"):
        compose(root, f"{sign}wings=2")


@pytest.mark.parametrize("place", ["", "model.", "optim.", "data.", "trainer."])
def test_a_target_is_refused_and_never_made(place, tmp_path):
    made = tmp_path / "made"
    given = [f"+{place}_target_=pathlib.Path.touch", f"+{place}_args_=[{made}]"]
    with pytest.raises(ValueError, match=f"unknown: {place}_target_ .legal are "):
        compose("train", *given)
    assert not made.exists()


def test_no_file_names_code_to_run():
    for path in CONFIGS.rglob("*.yaml"):
        assert "_target_" not in path.read_text(), path
        assert "${oc." not in path.read_text(), path


def test_values_are_checked_by_the_dataclasses():
    with pytest.raises(ValueError, match=r"optim.lr=0.0; it must be positive"):
        compose("train", "optim.lr=0.0")
    with pytest.raises(ValueError, match=r"trainer.max_minutes=0.0; it must be positive, or null"):
        compose("train", "trainer.max_minutes=0")
    with pytest.raises(ValueError, match=r"wandb='loud'; legal are disabled, offline, online"):
        compose("train", "wandb=loud")
    with pytest.raises(ConfigCompositionException, match=r"optim.max_steps=many"):
        compose("train", "optim.max_steps=many")


def test_what_is_required_is_asked_for():
    with (
        hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"),
        pytest.raises(ValueError, match=r"required and not given: data.root"),
    ):
        plain(hydra.compose("prepare"), PrepareConfig)


def test_a_folder_of_one_s_own_is_named_and_has_no_weights():
    with pytest.raises(ValueError, match=r"required and not given: data.prepared"):
        compose("train", "data=folder")
    assert compose("train", "data=folder", "data.prepared=mine").data.source_weights == {}


def test_a_plain_config_is_plain():
    cfg = compose("train", "data=corpus")
    assert type(cfg.data.source_weights) is dict
    assert not OmegaConf.is_config(cfg.model)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"fill": [1, 2]}, "fill without a file; legal is given=FILE.mid"),
        ({"given": "x.mid", "fill": [3]}, r"fill=\[3\]; legal is \[FIRST,LAST\]"),
        ({"given": "x.mid", "fill": [1, 2], "tempo": 80}, "tempo with fill: time is the file's"),
    ],
)
def test_filling_is_refused_where_it_cannot_be(values, message):
    with pytest.raises(ValueError, match=message):
        SampleConfig(**values)
