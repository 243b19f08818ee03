"""Results as files, tables, figures, a page and a notebook, of tracks that are known to conform."""

from __future__ import annotations

import csv
import io
import re
import runpy
import sys
from base64 import b64decode
from dataclasses import replace
from html import unescape
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
from nbclient import NotebookClient

from sonicrx_ml import evaluation_page, plots, published, results, tables
from sonicrx_ml.conformance import judge
from sonicrx_ml.evaluation import by_column
from sonicrx_ml.notes import Notes, write_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.statistics import Estimate, bootstrap
from sonicrx_ml.suite import Column, run

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "evaluation.ipynb"
SUITE = [
    Prescription.from_dict({"goal": "grief", "duration_s": 12, "tempo": tempo, "key": "C",
                            "mode": "major", "density": density, "instruments": ["piano"]})
    for tempo, density in ((60, 1), (80, 3), ([90, 120], [1, 4]), (120, 2))
]  # fmt: skip
OVERLAP = {"pitch": {"overlap": Estimate(0.8, 0.7, 0.9, 4), "divergence": Estimate(0.1, 0, 1, 4)}}


def chords(prescription: Prescription) -> bytes:
    """A C major chord on every quarter, in the asked tempo, meter and length."""
    planned = plan(prescription)
    onset = np.repeat(np.arange(0.0, planned.end_quarters), 3)
    release = np.minimum(onset + 1.0, planned.end_quarters)
    pitch = np.tile([60, 64, 67], len(onset) // 3)
    columns = np.full(len(onset), 64), np.zeros(len(onset), np.int64)
    return write_midi(Notes(onset, release - onset, pitch, *columns, planned.bars.meters[:1],
                            planned.tempo))  # fmt: skip


def half(prescription: Prescription) -> bytes:
    """Nothing that is MIDI where the tempo is under 85."""
    assert prescription.tempo is not None
    return b"<script>" if prescription.tempo.points[0][1] < 85 else chords(prescription)


def column(name, make):
    return Column(name, "", lambda many: [(midi := make(p), judge(p, midi)) for p in many])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The results of two columns, one of which fails twice in four."""
    out = tmp_path_factory.mktemp("evaluation")
    tracks = {name: run(SUITE, column(name, make), out)
              for name, make in (("all_well", chords), ("half", half))}  # fmt: skip
    parts = {
        "about": {"checkpoint": "a <b>"},
        "likeness": {"all_well": {"pieces": 4, "features": OVERLAP}, "half": {"pieces": 2}},
        "likelihood": {
            **{"works": 3, "pieces": 4, "notes": 50, "tokens": 200},
            "nats_per_note": {"told": bootstrap([1.0, 2.0])},
            "gain": {"of being told": bootstrap([0.5])},
            "by_source": {"etudes": {"told": bootstrap([1.5])}},
        },
    }
    results.write(out, parts | by_column(tracks), tracks)
    return out


@pytest.fixture
def found(folder) -> results.Results:
    return results.load(folder)


# ---------------------------------------------------------------- files


def test_what_is_written_is_read_again(folder, found, tmp_path):
    again = results.write(tmp_path, found.parts, found.tracks)
    for name in ("results.json", "results.csv", "results.md"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()
    assert again == tmp_path / "results.md"
    moved = results.load(tmp_path).tracks
    assert {name: len(judged) for name, judged in moved.items()} == {"all_well": 4, "half": 4}
    for before, after in zip(found.tracks["half"], moved["half"], strict=True):
        assert replace(after, midi=before.midi) == before
        assert after.midi.samefile(before.midi)


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"no results\.json; legal is a folder"):
        results.load(tmp_path)


def test_the_csv_has_a_row_for_every_figure(folder, found):
    rows = list(csv.DictReader((folder / "results.csv").read_text().splitlines()))
    at = {(row["part"], row["column"], row["figure"]): row for row in rows}
    assert len(at) == len(rows)
    failed = at["conformance", "half", "failed"]
    assert [failed[name] for name in ("value", "n")] == ["0.5", "4"]
    assert at["conformance", "half", "polyphony over bars (rho)"]["value"] == "", "none was asked"
    assert at["effects", "all_well", "tempo, tempo"]["value"] == "1.0"
    assert at["likeness", "all_well", "features, pitch, overlap"]["low"] == "0.7"
    assert at["likeness", "half", "pieces"]["value"] == "2"
    assert at["likelihood", "told", "by_source, etudes"]["value"] == "1.5"
    assert at["published", "Text2midi", "tempo bin (TB)"]["value"] == "0.397"
    figures = found.parts["conformance"]
    assert sum(row["part"] == "conformance" for row in rows) == sum(map(len, figures.values()))


def test_the_summary_is_short_and_aligned(found):
    nats, titles, *rows = tables.summary(found.parts).splitlines()
    assert nats == "nats per note: told 1.5"
    assert titles.split() == ["all_well", "half"]
    assert {len(row) for row in rows} == {len(titles)}
    assert rows[1].split() == ["failed", "0", "0.5"]
    assert "polyphony" not in "".join(rows), "none was asked"
    assert tables.summary({}) == ""


def test_verdicts_are_rows(found):
    rows = list(results.verdicts(found.tracks))
    missed = [row for row in rows if row["column"] == "all_well" and row["verdict"] == "fail"]
    assert {row["attribute"] for row in missed} == {"density"}
    assert {row["goal"] for row in rows} == {"grief"}
    assert sum(bool(row["failure"]) for row in rows if row["attribute"] == "tempo") >= 2


def test_the_tables_name_figures_systems_and_failures(folder):
    text = (folder / "results.md").read_text()
    assert "| failed | 0 [0, 0] (4) | 0.5 [0, 1] (4) |  |" in text
    assert "| 0.397 Text2midi; 0.217 MuseCoco (run by Text2midi) |" in text
    before, _, after = text.partition("| figure |")
    assert "other data, another protocol and text prompts" in before.replace("\n", " ")
    assert "- MuseMorphose: Wu & Yang 2023" in before
    assert "energy as composed" in after
    assert len(re.findall(r"\| half \| \w{12} \| ", text)) == 2
    assert tables.page({}) == "\n"


def test_a_cell_of_a_table_stays_one_cell():
    lines = tables.table(["mean |rho|", "n"], [["a\nb", 1]])
    assert lines == [r"| mean \|rho\| | n |", "| --- | --- |", "| a b | 1 |"]


def test_what_others_publish_stands_beside_a_figure_of_ours(found):
    ours = found.parts["conformance"]["half"]
    assert {one.figure for one in published.PUBLISHED} <= set(ours)
    assert all(system.source and system.protocol for system in published.SYSTEMS)
    assert published.beside("failed") == []


# ---------------------------------------------------------------- figures


def test_a_dot_is_a_track_at_what_was_asked_and_what_became(found):
    figure = plots.asked_realised(found.tracks)
    assert figure is not None
    panels = np.array(figure.axes).reshape(-1, 2)
    assert [panel.get_ylabel().split("\n")[0] for panel in panels[:, 0]] == [
        "tempo, BPM", "density, onsets/s"
    ]  # fmt: skip
    assert [panel.get_title() for panel in panels[0]] == ["all well", "half\n2 failed"]
    tempo, density = ([np.asarray(panel.collections[0].get_offsets()) for panel in row]
                      for row in panels)  # fmt: skip
    assert sorted(tempo[0][:, 0]) == pytest.approx([60, 80, 105, 120], abs=1)
    np.testing.assert_allclose(tempo[0][:, 0], tempo[0][:, 1], atol=0.2)
    assert len(tempo[1]) == 2, "what failed has no dot"
    dot = density[0][np.argmax(tempo[0][:, 0])]
    np.testing.assert_allclose(dot, [2, 2], atol=0.1)  # a chord a quarter at 120 BPM
    for panel in panels.flat:
        assert panel.get_xlim() == panel.get_ylim()
    assert plots.asked_realised({"none": []}) is None


def test_the_heat_maps_show_the_correlations(found):
    figure = plots.heat_maps(found.parts["effects"])
    panel = figure.axes[0]
    shown = np.ma.MaskedArray(panel.images[0].get_array()).filled(np.nan)
    table = found.parts["effects"]["all_well"]
    np.testing.assert_array_equal(
        shown, [[e.value for e in row.values()] for row in table.values()]
    )
    assert shown[0, 0] == 1.0
    assert {text.get_text() for text in panel.texts} >= {"1.00", "–"}
    assert [axes.get_title() for axes in figure.axes[:2]] == ["all well", "half"]


def test_overlaps_are_marks_with_their_interval(found):
    figure = plots.overlaps(found.parts["likeness"])
    assert figure is not None
    (marks,) = figure.axes[0].lines
    assert marks.get_xdata() == [0.8]
    assert marks.get_label() == "all well"
    (interval,) = figure.axes[0].collections[0].get_paths()
    assert [x for x, _ in np.asarray(interval.vertices)] == [0.7, 0.9]
    assert plots.overlaps({"half": {"pieces": 2}}) is None


def test_equal_figures_are_equal_bytes(found):
    first, second = (plots.svg(plots.heat_maps(found.parts["effects"])) for _ in range(2))
    assert first == second
    assert first.startswith("<?xml")


# ---------------------------------------------------------------- the page


def test_the_best_the_median_and_the_worst(found):
    judged = found.tracks["all_well"]
    chosen = evaluation_page.ranked(judged)
    merits = sorted(j.report.merit for j in judged)
    assert [j.report.merit for j in chosen.values()] == [merits[3], merits[2], merits[0]]
    assert list(chosen) == ["best", "median", "worst"]
    assert evaluation_page.ranked(found.tracks["half"])["worst"].report.failure
    assert list(evaluation_page.ranked(judged[:1])) == ["best"]
    assert evaluation_page.ranked([]) == {}


def test_the_page_stands_alone_and_says_everything(folder):
    page = evaluation_page.write(folder, players=False).read_text()
    assert "default-src 'none'" in page
    assert not re.findall(r"(?:src|href)='(?!data:)", page)
    assert not re.findall(r"url\((?!#)|@import|<link|<script", page)
    assert "<audio" not in page
    assert page.count("data:image/svg+xml;base64,") == 3
    head = page[: page.index("Asked against realised")]
    assert re.findall(r"<th scope='col'>(.*?)</th>", head)[:4] == [
        "figure", "all well", "half", "published by others"
    ]  # fmt: skip
    assert "<td>0.5<small>0 to 1</small></td>" in head
    assert "tempo bin (TB)</th>" in head
    assert "(sound)" not in head, "nothing was measured on sound"
    for system in published.SYSTEMS:
        assert system.source in unescape(head)
        assert system.protocol in unescape(head)
    assert "Every column is performed alike: perform writes" in head
    assert "a &lt;b&gt;" in page
    assert page.count("<h3>Best") == page.count("<h3>Worst") == 2
    assert "Nats per note" in page


def test_players_sound(folder, found):
    shown = evaluation_page.extremes(found.tracks["half"], players=True)
    sounds = re.findall(r"<audio [^>]*src='data:audio/mpeg;base64,([^']*)'", shown)
    assert len(sounds) == 2, "what failed has no sound"
    samples, rate = soundfile.read(io.BytesIO(b64decode(sounds[0])))
    assert samples.ndim == 1
    assert 12 <= len(samples) / rate <= 17
    assert np.sqrt(np.mean(samples**2)) > 0.001


def test_a_track_without_midi_has_curves_alone(found, tmp_path):
    judged = replace(found.tracks["all_well"][0], midi=tmp_path / "none.mid")
    assert evaluation_page.notes_of(judged) is None
    shown = evaluation_page.extremes([judged], players=True)
    assert "<svg" in shown
    assert "<audio" not in shown


# ---------------------------------------------------------------- script and notebook


def test_the_script_judges_anyones_tracks(tmp_path, monkeypatch, capsys):
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "one.mid").write_bytes(chords(SUITE[0]))
    listed = tmp_path / "asked.json"
    listed.write_text(f'{{"one": {SUITE[0].to_json()}, "two": {SUITE[1].to_json()}}}')
    given = ["tracks=made", "prescriptions=asked.json", "out=judged", "players=false"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *given])
    runpy.run_path(str(ROOT / "scripts" / "evaluate.py"), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r"^failed +0\.5$", printed, re.MULTILINE)
    assert "all figures, with intervals: judged/results.md\npage: judged/results.html" in printed
    written = (tmp_path / "judged" / "results.md").read_text()
    assert "| failed | 0.5 [0, 1] (2) |" in written
    assert "another system's" in written
    assert "`raw`" not in written
    names = {path.name for path in (tmp_path / "judged").iterdir()}
    assert names == {"results.json", "results.csv", "results.md", "results.html", "tracks.jsonl",
                     "tracks.jsonl.gz"}  # fmt: skip
    (one, two) = results.load(tmp_path / "judged").tracks["tracks"]
    assert one.midi.samefile(tmp_path / "made" / "one.mid")
    assert two.report.failure


def test_the_notebook_runs_on_a_folder_of_results(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("SONICRX_RESULTS", str(folder))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any(output.output_type == "execute_result" for output in shown)
    streams = [output.text for output in shown if output.output_type == "stream"]
    assert not [text for text in streams if "Warning" in text or "Error" in text]
    assert [next(k for k in o.data if k != "text/plain") if len(o.data) > 1 else "text/plain"
            for o in shown] == ["text/plain", "text/html", "image/svg+xml", "image/svg+xml",
                                "text/html", "text/html"]  # fmt: skip
    assert "attributes met (ASA)" in shown[1].data["text/html"]
    assert "<h3>Best" in shown[5].data["text/html"]


def test_the_notebook_is_kept_without_outputs():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") and not cell.get("execution_count")
               for cell in notebook.cells)  # fmt: skip
    assert "not a medical device; adjunct to care" in notebook.cells[0].source
