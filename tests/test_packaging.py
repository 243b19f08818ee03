"""What is declared, pinned, explained and imported agrees."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import sonicrx_ml

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "pyproject.toml").read_text()
PYPROJECT = tomllib.loads(TEXT)
PROJECT = PYPROJECT["project"]
PINS = (ROOT / "constraints.txt").read_text().splitlines()

RUNTIME = [Requirement(text) for text in PROJECT["dependencies"]]
GROUPS = {
    group: [Requirement(text) for text in texts]
    for group, texts in PROJECT["optional-dependencies"].items()
}
OPTIONAL = [requirement for group in GROUPS.values() for requirement in group]
GROUP_OF_FOLDER = {"ui": "notebook"}  # packages of use only with a group installed


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def pinned(name: str) -> list[Requirement]:
    found = [Requirement(pin) for pin in PINS]
    return [pin for pin in found if canonicalize_name(pin.name) == canonicalize_name(name)]


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Top-level package of each absolute import, and whether it runs when the module loads."""
    tree = ast.parse(path.read_text())
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    inside = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.split(".")[0], id(node) not in inside
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0], id(node) not in inside


@pytest.mark.parametrize("requirement", RUNTIME + OPTIONAL, ids=str)
def test_each_dependency_gives_its_reason(requirement: Requirement):
    line = next(li for li in TEXT.splitlines() if re.match(rf'\s+"{requirement.name}[><=]', li))
    assert re.search(r'",\s+# \S+ \S+', line), f"no reason beside: {line.strip()}"


@pytest.mark.parametrize("requirement", RUNTIME + OPTIONAL, ids=str)
def test_each_dependency_is_pinned_within_its_bounds(requirement: Requirement):
    pins = pinned(requirement.name)
    assert pins, f"{requirement.name} has no pin"
    for pin in pins:
        assert requirement.specifier.contains(str(pin.specifier).removeprefix("=="))


def test_pins_are_exact_names_and_versions():
    for line in PINS:
        pin = Requirement(line)
        assert pin.url is None
        assert re.fullmatch(r"==[^,*]+", str(pin.specifier)), line


@pytest.mark.parametrize("python", ["3.11.2", "3.11.9", "3.12.3"])
def test_a_python_sees_one_pin_of_a_name(python: str):
    where = {"python_full_version": python, "python_version": python[:4]}
    seen = [
        canonicalize_name(pin.name)
        for pin in map(Requirement, PINS)
        if pin.marker is None or Marker(str(pin.marker)).evaluate(where)
    ]
    assert len(seen) == len(set(seen))


def test_what_is_installed_is_what_is_pinned():
    for requirement in RUNTIME:
        here = [p for p in pinned(requirement.name) if p.marker is None or p.marker.evaluate()]
        assert [str(p.specifier) for p in here] == [
            f"=={importlib.metadata.version(requirement.name).split('+')[0]}"
        ]


def test_torch_and_torchaudio_move_together():
    assert pinned("torch")[0].specifier == pinned("torchaudio")[0].specifier


def test_pyaudio_is_left_out():
    assert "pyaudio" in PYPROJECT["tool"]["uv"]["override-dependencies"][0]
    assert pinned("pyaudio") == []


def test_version_has_one_source():
    assert PROJECT["dynamic"] == ["version"]
    assert importlib.metadata.version("sonicrx_ml") == sonicrx_ml.__version__
    assert f"## [{sonicrx_ml.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sonicrx_ml").rglob("*.py")), ids=lambda path: path.stem
)
def test_each_import_is_declared(path: Path):
    """At load only runtime dependencies (and its group's); inside a function those of any group."""
    distributions = importlib.metadata.packages_distributions()
    own = GROUPS[GROUP_OF_FOLDER[path.parent.name]] if path.parent.name in GROUP_OF_FOLDER else []
    for package, at_load in imports(path):
        if package in sys.stdlib_module_names or package in {"sonicrx_ml", "__future__"}:
            continue
        declared = names(RUNTIME + own) if at_load else names(RUNTIME + OPTIONAL)
        provided = {canonicalize_name(name) for name in distributions.get(package, [package])}
        assert provided & declared, f"{path.name} imports {package}, which is not declared"


@pytest.mark.parametrize("package", PYPROJECT["tool"]["setuptools"]["packages"])
def test_package_data_is_declared(package: str):
    folder, told = ROOT / package.replace(".", "/"), PYPROJECT["tool"]["setuptools"]
    declared = {path for pattern in told["package-data"][package] for path in folder.glob(pattern)}
    others = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"]
    packages = [ROOT / name.replace(".", "/") for name in told["packages"]]
    deeper = [other for other in packages if folder in other.parents]
    data = {path for path in others if "__pycache__" not in path.parts
            and not any(other in path.parents for other in deeper)}  # fmt: skip
    assert data
    assert data == declared


def test_every_package_is_declared():
    found = {path.parent for path in (ROOT / "sonicrx_ml").rglob("*.py")}
    named = {ROOT / name.replace(".", "/") for name in PYPROJECT["tool"]["setuptools"]["packages"]}
    assert found == named


def test_importing_prints_nothing(tmp_path):
    """pyfluidsynth prints what it finds where $CI is set: a module in its place prints always."""
    (tmp_path / "fluidsynth.py").write_text('print("found")')
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-c", "import sonicrx_ml.notes, fluidsynth; print('after')"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "after\n"


def test_tests_cannot_leave_this_machine():
    with socket.socket() as outside, pytest.raises(RuntimeError, match=r"192\.0\.2\.1"):
        outside.connect(("192.0.2.1", 80))  # TEST-NET-1 (RFC 5737): belongs to nobody


def test_tests_reach_this_machine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()
