"""The notebooks run headless, and show no code unless asked."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parent.parent / "notebooks"
CLINICIAN = FOLDER / "clinician.ipynb"
STATE = "application/vnd.jupyter.widget-state+json"


def executed(path: Path, folder: Path, timeout: int) -> nbformat.NotebookNode:
    """A notebook after it ran in `folder`, each cell in at most `timeout` seconds."""
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=resources).execute()
    return notebook


def test_the_clinician_s_notebook_runs_and_shows_one_page(small, tmp_path, monkeypatch):
    monkeypatch.setenv("SONICRX_CHECKPOINT", str(small))
    monkeypatch.setenv("SONICRX_TRACKS", str(tmp_path / "tracks"))
    monkeypatch.delenv("CI", raising=False)  # under it pyfluidsynth prints where its library is
    notebook = executed(CLINICIAN, tmp_path, 120)
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [list(output.data) for output in shown] == [
        ["text/plain", "application/vnd.jupyter.widget-view+json"]
    ]
    state = notebook.metadata.widgets[STATE]["state"].values()
    texts = [model["state"].get("value") for model in state if model["model_name"] == "HTMLModel"]
    assert any("25 minutes, from 84 to 60 beats per minute" in text for text in texts)
    assert any("not a medical device; adjunct to care" in text for text in texts)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and not cell.get("execution_count")
               for cell in notebook.cells)  # fmt: skip


def test_the_clinician_s_notebook_hides_its_code():
    notebook = nbformat.read(CLINICIAN, as_version=4)
    hidden = [cell.metadata.get("jupyter", {}).get("source_hidden") for cell in notebook.cells
              if cell.cell_type == "code"]  # fmt: skip
    assert hidden
    assert all(hidden)


@pytest.mark.slow
def test_the_training_notebook_prepares_trains_draws_and_samples(tmp_path, monkeypatch):
    monkeypatch.setenv("SONICRX_TRAINING", str(tmp_path / "run"))
    monkeypatch.setenv("SONICRX_STEPS", "6")
    for name in ("CI", "MPLBACKEND"):  # the kernel draws in the notebook
        monkeypatch.delenv(name, raising=False)
    notebook = executed(FOLDER / "training.ipynb", tmp_path, 300)
    kinds = [kind for cell in notebook.cells for output in cell.get("outputs", [])
             for kind in output.get("data", {})]  # fmt: skip
    assert {"text/markdown", "image/png", "image/svg+xml"} <= set(kinds)
    assert (tmp_path / "run" / "tiny" / "bundle" / "model.safetensors").is_file()
    said = "".join(output.get("text", "") for cell in notebook.cells
                   for output in cell.get("outputs", []))  # fmt: skip
    assert "asked attributes met" in said
