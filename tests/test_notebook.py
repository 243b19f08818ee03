"""The clinician's notebook runs, sounds and reports; what is illegal is said in a sentence."""

from __future__ import annotations

import base64
import io
import re
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

from sonicrx_ml import checkpoint
from sonicrx_ml.goals import evidence, goal_names, prescribe
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.report import WORDING
from sonicrx_ml.ui import ClinicianPage, describe

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "clinician.ipynb"
CLAIMS = r"(?i)\b(treats?|cures?|heals?|clinically proven|diagnos\w+)\b"
STATE = "application/vnd.jupyter.widget-state+json"


@pytest.fixture(scope="module")
def small(bundle, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "small"
    parts = bundle.composer, bundle.vocabulary, bundle.bins
    checkpoint.export(folder, *parts, training={}, card="", half=False)
    return folder


@pytest.fixture
def page(small, tmp_path) -> ClinicianPage:
    return ClinicianPage(small, tmp_path / "tracks")


def framed(html: str) -> str:
    found = re.search(r"<iframe [^>]*srcdoc='([^']*)'", html)
    assert found is not None
    return unescape(found[1])


def test_the_notebook_runs_and_a_click_brings_sound_and_report(small, tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    monkeypatch.setenv("SONICRX_CHECKPOINT", str(small))
    monkeypatch.delenv("CI", raising=False)  # under it pyfluidsynth prints where its library is
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    click = "page.minutes.value = 0.25\npage.generate.click()"
    notebook.cells.append(nbformat.v4.new_code_cell(click))
    resources = {"metadata": {"path": str(tmp_path / "notebooks")}}
    NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()

    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [list(output.data) for output in shown] == [
        ["text/plain", "application/vnd.jupyter.widget-view+json"]
    ]
    state = notebook.metadata.widgets[STATE]["state"].values()
    texts = [model["state"].get("value") for model in state if model["model_name"] == "HTMLModel"]
    report = framed(next(text for text in texts if "<iframe" in text))
    (folder,) = (tmp_path / "tracks").iterdir()
    assert report == (folder / "report.html").read_text()
    assert "Conformance report" in report
    assert "<svg" in report
    data = re.search(r"<audio [^>]*src='data:audio/mpeg;base64,([^']*)'", report)
    assert data is not None
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(data[1])))
    assert 15 <= len(samples) / rate <= 19
    assert np.sqrt(np.mean(samples**2)) > 0.001
    assert any(str(folder.name) in text for text in texts)


def test_the_notebook_is_kept_without_outputs_and_claims_nothing():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and not cell.get("execution_count")
               for cell in notebook.cells)  # fmt: skip
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "not a medical device; adjunct to care" in text
    assert not re.search(CLAIMS, text)


@pytest.mark.parametrize("goal", goal_names())
def test_a_goal_brings_its_evidence_its_instruments_and_no_claim(page, goal):
    page.goal.value = goal
    found = evidence(goal)
    assert f"Evidence: <b>{found.strength}</b>" in page.evidence.value
    assert found.claim in unescape(page.evidence.value)
    assert found.caution in unescape(page.evidence.value)
    assert not re.search(CLAIMS, page.evidence.value)
    assert page.prescription() == prescribe(goal, 120)
    assert describe(page.prescription()) in page.asked.value
    assert any(WORDING in child.value for child in page.children if hasattr(child, "value"))


def test_the_controls_are_what_is_asked(page):
    page.goal.value = "grief"
    page.minutes.value, page.key.value, page.mode.value = 0.5, "F#", "major"
    page.instruments.value, page.seed.value = ("harp", "flute"), 7
    assert page.prescription() == prescribe(
        "grief", 30, key="F#", mode="major", instruments=["harp", "flute"], seed=7
    )


@pytest.mark.parametrize(
    ("control", "illegal", "legal", "said"),
    [
        ("minutes", 0.1, 0.5, "duration_s 6.0; legal are 10 to 7200 s"),
        ("minutes", float("nan"), 1.0, "duration_s nan; legal are"),
        ("seed", -1, 1, "seed -1; legal are whole numbers"),
        ("instruments", ("violin", "cello"), ("cello",), "both of the family 'strings'"),
    ],
)
def test_what_is_illegal_is_refused_in_a_sentence_until_it_is_mended(
    page, control, illegal, legal, said
):
    getattr(page, control).value = illegal
    assert said in unescape(page.asked.value)
    assert "role='alert'" in page.asked.value
    assert page.generate.disabled
    getattr(page, control).value = legal
    assert "role='alert'" not in page.asked.value
    assert not page.generate.disabled


def test_a_missing_checkpoint_is_said_in_a_sentence(tmp_path):
    page = ClinicianPage(tmp_path / "nowhere", tmp_path)
    page.generate.click()
    assert "nowhere is not a bundle" in page.status.value
    assert "role='alert'" in page.status.value
    assert not page.generate.disabled


def test_a_refused_take_leaves_no_older_report_beside_the_refusal(page, small):
    page.minutes.value = 0.2
    page.generate.click()
    assert "Conformance report" in framed(page.result.value)
    page.out = small / "config.json"  # a file: no folder can be made in it
    page.generate.click()
    assert page.result.value == ""
    assert "role='alert'" in page.status.value


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"duration_s": 1200, "tempo": [84, 60], "key": "D", "instruments": ["strings"]},
            "20 min, from 84 to 60 beats per minute, D major; strings",
        ),
        ({"duration_s": 45}, "45 s, 72 beats per minute, any key; piano"),
        (
            {
                "duration_s": 90,
                "tempo": [[0, 80], [0.5, 60], [1, 76]],
                "mode": "minor",
                "instruments": ["warm_pad", "harp"],
                "final_silence_s": 5,
            },
            "1 min 30 s, from 80 to 60 to 76 beats per minute, any minor key, the last 5 s silent; "
            "warm pad, harp",
        ),
    ],
)
def test_a_prescription_in_a_sentence(asked, said):
    assert describe(Prescription.from_dict(asked)) == said
