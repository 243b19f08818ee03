"""What the README tells a newcomer to type runs, and what it points at is there."""

from __future__ import annotations

import re
import runpy
import shlex
from pathlib import Path

import hydra
import pytest

from sonicrx_ml import checkpoint
from sonicrx_ml.config import (
    EvaluateConfig,
    PrepareConfig,
    SampleConfig,
    SessionsConfig,
    plain,
    register,
)
from sonicrx_ml.goals import goal_names
from sonicrx_ml.recipe import TrainConfig

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()
SHIPPED = ROOT / "checkpoints" / "small"
SCRIPTS = {
    "prepare_data": ("prepare", PrepareConfig),
    "train": ("train", TrainConfig),
    "sample": ("sample", SampleConfig),
    "evaluate": ("evaluate", EvaluateConfig),
    "sessions": ("sessions", SessionsConfig),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


COMMANDS = [
    line for block in blocks("bash") for line in block.splitlines() if "scripts/" in line
]  # fmt: skip


@pytest.mark.parametrize("code", blocks("python"))
def test_python_blocks_run(code, bundle, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "checkpoints" / "small"
    if SHIPPED.is_dir():
        folder.parent.mkdir()
        folder.symlink_to(SHIPPED)
    else:
        parts = bundle.composer, bundle.vocabulary, bundle.bins
        checkpoint.export(folder, *parts, training={}, card="")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "asked attributes met" in capsys.readouterr().out
    made = {path.name for path in (tmp_path / "tracks" / "first").iterdir()}
    assert made >= {"track.mid", "track.flac", "report.html", "manifest.json"}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_legal(command):
    python, script, *overrides = shlex.split(command, comments=True)
    assert python == "python"
    assert (ROOT / script).is_file()
    root, kind = SCRIPTS[Path(script).stem]
    register(root, kind)
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        assert isinstance(plain(hydra.compose(root, overrides), kind), kind)


def test_every_script_is_shown():
    assert {Path(shlex.split(command)[1]).stem for command in COMMANDS} == set(SCRIPTS)


def test_the_vocabulary_is_printed(capsys):
    assert "python -m sonicrx_ml.prescription" in TEXT
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):  # it is imported already
        runpy.run_module("sonicrx_ml.prescription", run_name="__main__")
    printed = capsys.readouterr().out
    assert "duration_s" in printed
    assert "10 to 7200" in printed
    assert max(map(len, printed.splitlines())) <= 140


def test_targets_and_files_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", TEXT, re.MULTILINE))
    assert {"sample", "test", "smoke", "notebook"} <= named <= targets
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert links
    for link in links:
        assert (ROOT / link).is_file(), link


def test_it_says_what_it_is_not_and_claims_nothing():
    assert "Not a medical device; adjunct to care." in TEXT
    assert not re.search(r"(?i)\b(treats?|cures?|heals?|clinically proven)\b", TEXT)


def test_every_goal_is_named():
    after = re.findall(r"`(\w+)`", TEXT[TEXT.index("Goals, each with") :])
    assert tuple(after[: len(goal_names())]) == goal_names()
