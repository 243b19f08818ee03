"""What is logged elsewhere knows no listener: of the rest, see the tests of scripts and courses."""

from __future__ import annotations

import ast
from pathlib import Path

from sonicrx_ml.monitor import SAMPLE

PACKAGE = Path(__file__).parent.parent / "sonicrx_ml"
PERSONAL = {"listener", "fitting", "personal", "screening", "journal", "session", "outcomes",
            "suggestion", "adapt", "course", "course_folder", "course_page", "asking"}  # fmt: skip


def imported(path: Path) -> set[str]:
    """Modules of the package that a module imports by name, and other libraries."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            found.add(parts[-1] if parts[0] == "sonicrx_ml" else parts[0])
            found |= {alias.name for alias in node.names}
    return found


def test_what_logs_to_wandb_knows_no_listener():
    modules = {path.stem: imported(path) for path in PACKAGE.rglob("*.py")}
    assert modules.keys() >= PERSONAL
    logging = {name for name, known in modules.items() if known & {"wandb", "WandbLogger"}}
    assert logging == {"monitor"}
    for name in logging:
        assert not modules[name] & PERSONAL
    for name in PERSONAL:
        assert not modules[name] & {"wandb", "lightning", "monitor", "training"}


def test_what_is_composed_while_training_is_for_nobody():
    assert SAMPLE.goal is None
    assert SAMPLE.anchor is None
