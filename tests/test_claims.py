"""What is shown to anybody claims no more than the evidence does; the claims page is up to date."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sonicrx_ml import claims
from sonicrx_ml.goals import library

ROOT = Path(__file__).parent.parent
PAGES = ("*.md", "docs/**/*.md", "benchmarks/**/*.md", "data/*.md", "checkpoints/*/*.md")
DATA = ("sonicrx_ml/*.toml", "configs/**/*.yaml", "docs/*.svg", "pyproject.toml")


def texts(code: str) -> str:
    """Every string of a module that is not a docstring, a line each."""
    tree = ast.parse(code)
    documented = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return "\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if id(node) not in documented
    )


def shown() -> Iterator[tuple[str, str]]:
    """Every text that is shown to somebody, with the name of its file."""
    for pattern in (*PAGES, *DATA):
        for path in sorted(ROOT.glob(pattern)):
            yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for path in sorted(ROOT.glob("sonicrx_ml/ui/assets/*.js")):
        yield str(path.relative_to(ROOT)), path.read_text(encoding="utf-8")
    for folder in ("sonicrx_ml", "sonicrx_ml/ui", "scripts", "docs"):
        for path in sorted((ROOT / folder).glob("*.py")):
            yield str(path.relative_to(ROOT)), texts(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        yield str(path.relative_to(ROOT)), "\n".join("".join(cell["source"]) for cell in cells)


SHOWN = dict(shown())


def test_everything_shown_is_found():
    assert {
        "README.md", "docs/claims.md", "sonicrx_ml/goals.toml", "sonicrx_ml/screening.toml",
        "sonicrx_ml/report.py", "notebooks/clinician.ipynb",
    } <= SHOWN.keys()  # fmt: skip
    assert "not a medical device" in SHOWN["sonicrx_ml/report.py"]


@pytest.mark.parametrize("name", SHOWN)
def test_no_forbidden_word_is_shown(name):
    assert claims.forbidden(SHOWN[name]) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("This treats stress.", ["treats"]),
        ("A Treatment, and it CURES.", ["Treatment", "CURES"]),
        ("clinically\nproven", ["clinically\nproven"]),
        ("raises dopamine with binaural beats", ["dopamine", "binaural beats"]),
        ("tuned to 432 Hz, or 528Hz", ["432 Hz", "528Hz"]),
        ("SonicRx never says that it cures.", []),
        ("It never says so.\nIt cures.", ["cures"]),
        ("health, curious, secure, retreat, -0.432, 528 notes, binaural roughness", []),
        (
            "clinically-validated, Scientifically backed",
            ["clinically-validated", "Scientifically backed"],
        ),
        ("It lowers the resting heart rate.", ["lowers the resting heart rate"]),
        ("slows your\npulse", ["slows your\npulse"]),
        ("reduces blood pressure", ["reduces blood pressure"]),
        ("entrains your heart", ["entrains your heart"]),
        ("Tempo drives heart rate.", ["drives heart"]),
        ("Your heart follows the beat.", ["Your heart follows"]),
        ("Your heart rate slows down; it is proven.", ["heart rate slows", "is proven"]),
        ("lowers the listener's pulse", ["lowers the listener's pulse"]),
        ("synchronises breathing and heart", ["synchronises breathing and heart"]),
        ("fewer stress hormones, more endorphins", ["stress hormones", "endorphins"]),
        ("a dopaminergic arc", ["dopaminergic"]),
        ("A=432, 432-Hz, 528 hertz", ["A=432", "432-Hz", "528 hertz"]),
        (
            "binaural tones, isochronic pulses, solfeggio, brainwaves, brain-wave",
            ["binaural tones", "isochronic", "solfeggio", "brainwaves", "brain-wave"],
        ),
        ("reduces your anxiety and relieves pain", ["reduces your anxiety", "relieves pain"]),
        ("It eliminates stress; guaranteed results.", ["eliminates stress", "guaranteed results"]),
        ("a healing remedy", ["healing", "remedy"]),
        ("use it instead of your medication", ["instead of your medication"]),
        ("listening strengthens social bonds", ["strengthens social bonds"]),
        ("A proven anchor. The anchor is established.", ["proven anchor", "anchor is established"]),
        ("paces breathing and attention; heart-rate effects are small and not guaranteed", []),
        ("may support recovery after stress; experimental; one of two strategies", []),
        ("slow music went with higher heart-rate variability and lowered heart rate", []),
        ("music therapy; pain, stress, anxiety; the listener's resting heart rate; 4 x 432", []),
        ("lower the level; reduce the level; a slow pulse of strings; a tone of 440 Hz", []),
        ("reward-oriented arc: build-up and release; a shared beat for who moves together", []),
    ],
)
def test_forbidden_words_are_found(text, found):
    assert claims.forbidden(text) == found


def test_only_the_rule_itself_is_quoted():
    quoting = {name for name, text in SHOWN.items() if "never says" in text or "never_says" in text}
    assert quoting == {"docs/claims.md", "sonicrx_ml/claims.py", "sonicrx_ml/claims.toml"}


def test_the_page_is_what_the_data_say():
    assert (ROOT / "docs" / "claims.md").read_text(encoding="utf-8") == claims.page()


def test_the_page_shows_every_goal_with_its_marks():
    page = claims.page()
    for goal, known in library().goals.items():
        part = page.partition(f"### `{goal}`: {known.title} ({known.strength})")[2].split("\n##")[0]
        assert known.claim in part
        assert known.caution in part
        for parameter in known.parameters:
            (row,) = (
                line for line in part.splitlines() if line.startswith(f"| {parameter.name} |")
            )
            assert parameter.reason in row
            assert row.endswith(f"| {parameter.strength} |")
            assert all(citation in row for citation in parameter.citations)
    for claim in claims.wording().claims:
        assert f"It never says {claim.never_says}. {claim.known}" in page
