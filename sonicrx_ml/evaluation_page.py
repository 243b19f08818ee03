"""An evaluation to read, look at and listen to: one page that asks the network for nothing.

`write` makes `results.html` of a folder of `results`: the headline figures beside those that others
publish, figures, and of every column its best, median and worst track, with a player where it is
wanted. Figures and sound are data within the page.
"""

from __future__ import annotations

import base64
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.progress import track
from scipy.signal import resample_poly

from sonicrx_ml import audio, plots, published, results, tables
from sonicrx_ml.compose import TAIL_S
from sonicrx_ml.drawing import FIGURE_STYLE, clock, figures
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import Notes, read_midi
from sonicrx_ml.page import STYLE, frame, table
from sonicrx_ml.report import WORDING
from sonicrx_ml.statistics import Estimate
from sonicrx_ml.suite import Judged

MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)  # Hz
RANKS = ("best", "median", "worst")
WIDER = """
body{max-width:78rem}h3{margin:1.6rem 0 .3rem;font-size:1rem}
.plot{background:#fff;border-radius:6px;padding:.5rem;margin:.5rem 0}
.plot img{display:block;max-width:100%;height:auto;margin:auto}
td small,th small{display:block;font-weight:400;white-space:nowrap}
.beside{color:var(--soft)}sup{line-height:0}
ol{padding-left:1.4rem;color:var(--soft);font-size:.87rem}
"""


def write(out: Path, players: bool = True) -> Path:
    """Write the page of a folder of results; returns its path.

    players : render the best, median and worst track of every column, which takes a while.
    """
    found = results.load(out)
    parts, tracks = found.parts, found.tracks
    sections = [
        "<h1>Evaluation</h1>",
        _about(parts.get("about", {})),
        _headline(parts),
        _nats(parts.get("likelihood", {})),
        _plot(
            "Asked against realised",
            plots.asked_realised(tracks),
            "A dot is a track, its mean over bars; dashed: equal; band: the judge's tolerance.",
        ),
        _plot(
            "What moves what",
            plots.heat_maps(parts["effects"]) if parts.get("effects") else None,
            tables.EFFECTS_NOTE,
        ),
        _plot("Likeness to real pieces", plots.overlaps(parts.get("likeness", {})),
              tables.LIKENESS_NOTE),
        _likeness(parts.get("likeness", {})),
        _sound(parts.get("sound", {})),
        *(_column(name, tracks[name], players, first=not i) for i, name in enumerate(tracks)),
        _failures(parts.get("failures", {})),
        _every_figure(parts),
        f"<p class='note soft'>{escape(WORDING)}</p>",
    ]  # fmt: skip
    page = frame("Evaluation", "\n".join(sections), STYLE + WIDER)
    return results.put(out / "results.html", page.encode())


def ranked(judged: Sequence[Judged]) -> dict[str, Judged]:
    """The best, the median and the worst track of a column, by the judge's merit.

    What failed is worst. A column of one or two tracks has no more than these.
    """
    order = sorted(judged, key=lambda j: (j.report.failure is None, j.report.merit), reverse=True)
    places = {"best": 0, "median": (len(order) - 1) // 2, "worst": len(order) - 1}
    chosen = {rank: order[places[rank]] for rank in RANKS if order}
    return {rank: j for rank, j in chosen.items() if rank == "best" or j is not chosen["best"]}


def notes_of(judged: Judged) -> Notes | None:
    """The notes of a track; None where it failed, or has no MIDI."""
    if judged.report.failure or not judged.midi.is_file():
        return None
    return read_midi(judged.midi.read_bytes())


def has_sound(judged: Judged) -> bool:
    """Whether the sound that was judged is still where it was."""
    return judged.sound is not None and judged.sound.is_file()


def preview(judged: Judged) -> bytes:
    """The track as a small mono MP3: the sound that was judged; else its notes, played as ours."""
    if has_sound(judged):
        assert judged.sound is not None
        sound = audio.Sound(*_playable(*audio.load(judged.sound)), "as given", "", "")
    else:
        raw = audio.render(judged.midi.read_bytes(), tail_s=TAIL_S)
        target = judged.prescription.target_lufs
        sound, _ = master(raw, target_lufs=target, fade_out_s=TAIL_S)
    mono = replace(sound, samples=sound.samples.mean(axis=0, keepdims=True))
    with tempfile.TemporaryDirectory() as folder:
        return audio.save(mono, Path(folder) / "preview.mp3", {}).read_bytes()


def _playable(samples: NDArray[np.float32], rate: int) -> tuple[NDArray[np.float32], int]:
    """As a player would have it: at a rate that MP3 has, what is over full scale clipped."""
    if rate not in MP3_RATES:
        samples = resample_poly(samples, MP3_RATES[-1], rate, axis=1)
    return samples.clip(-1.0, 1.0), rate if rate in MP3_RATES else MP3_RATES[-1]


def extremes(judged: Sequence[Judged], players: bool, said: str = "rendering") -> str:
    """The best, median and worst track as HTML: verdict, player where it is wanted, curves.

    said : what the progress bar says.
    """
    chosen = ranked(judged)
    shown = [_track(rank, chosen[rank], players) for rank in track(
        list(chosen), said, disable=not players)]  # fmt: skip
    return f"<style>{FIGURE_STYLE}</style>{''.join(shown)}"


# ---------------------------------------------------------------- sections


def _about(about: Mapping[str, Any]) -> str:
    told = " · ".join(f"{escape(name)} {escape(str(value))}" for name, value in about.items())
    return f"<p class='soft'>{told}</p>"


def _headline(parts: Mapping[str, Any]) -> str:
    """The figures that matter most, and beside them what others publish."""
    columns = list(parts.get("conformance", {}))
    rows = [_headline_row(name, estimates) for name, estimates in tables.headline(parts)]
    if not rows:
        return ""
    titles = ["figure", *(plots.label(name) for name in columns), "published by others"]
    notes = "".join(f"<li>{escape(note)}</li>" for note in published.notes())
    said = (
        "Below a figure: its 95 % interval over prescriptions.",
        tables.columns_note(columns),
        tables.PUBLISHED_NOTE,
    )
    return f"<h2>Headline</h2>{table(titles, rows)}{_small(' '.join(said))}<ol>{notes}</ol>"


def _small(text: str) -> str:
    """A note in small print, from Markdown."""
    return f"<p><small>{escape(text.replace('`', ''))}</small></p>"


def _headline_row(name: str, estimates: Sequence[Estimate | None]) -> str:
    cells = "".join(f"<td>{_cell(estimate)}</td>" for estimate in estimates)
    beside = "<br>".join(
        f"{one.value:g} {escape(one.system.name)}"
        f"<sup>{published.SYSTEMS.index(one.system) + 1}</sup>"
        for one in published.PUBLISHED
        if one.figure == name
    )
    return f"<tr><th scope='row'>{escape(name)}</th>{cells}<td class='beside'>{beside}</td></tr>"


def _nats(found: Mapping[str, Any]) -> str:
    """Nats per note, of all pieces and by source."""
    if not found:
        return ""
    rows = [
        _headline_row(name, list(row.values()))
        for name, row in {"all": found["nats_per_note"], **found["by_source"]}.items()
    ]
    titles = ["source", *found["nats_per_note"], ""]
    return f"<h2>Nats per note</h2>{table(titles, rows)}{_small(tables.WORTH_NOTE)}"


def _cell(estimate: Estimate | None) -> str:
    if estimate is None or math.isnan(estimate.value):
        return "–"
    value, low, high = (_number(v) for v in (estimate.value, estimate.low, estimate.high))
    return f"{value}<small>{low} to {high}</small>"


def _number(value: float) -> str:
    """Three digits that matter; what no reader would tell from 0 is 0."""
    return "0" if abs(value) < 0.0005 else f"{value:.3g}".replace("-", "−")


def _plot(title: str, figure: Figure | None, caption: str) -> str:
    if figure is None:
        return ""
    data = base64.b64encode(plots.svg(figure).encode()).decode("ascii")
    return (
        f"<h2>{title}</h2><div class='plot scroll'><img alt='{title}' "
        f"src='data:image/svg+xml;base64,{data}'></div>{_small(caption)}"
    )


def _column(name: str, judged: Sequence[Judged], players: bool, first: bool) -> str:
    title = f"Best, median and worst track: {plots.label(name)}"
    state = " open" if first else ""
    shown = extremes(judged, players, f"page: {name}")
    return f"<details{state}><summary>{escape(title)}</summary>{shown}</details>"


def _track(rank: str, judged: Judged, players: bool) -> str:
    report, prescription = judged.report, judged.prescription
    missed = [name for name in report.asked if name not in report.met]
    met = f"{len(report.met)} of {len(report.asked)} asked attributes met"
    told = [report.failure or met, *([f"missed: {', '.join(missed)}"] if missed else [])]
    length = clock(prescription.duration_s)
    about = f"{prescription.goal or 'track'} · {length} · {report.prescription_id}"
    notes = notes_of(judged)
    heard = notes is not None or (has_sound(judged) and not report.failure)
    curves, *_ = figures(report, notes)
    return (
        f"<h3>{rank.capitalize()} <span class='soft'>{escape(about)}</span></h3>"
        f"<p>{escape('; '.join(told))}</p>{_player(judged) if players and heard else ''}"
        f"<div class='scroll'>{curves}</div>"
    )


def _player(judged: Judged) -> str:
    data = base64.b64encode(preview(judged)).decode("ascii")
    return f"<audio controls preload='none' src='data:audio/mpeg;base64,{data}'></audio>"


def _likeness(found: Mapping[str, Any]) -> str:
    """AUC, novelty, diversity and every feature, folded away."""
    if not found:
        return ""
    titles, rows = tables.likeness_rows(found)
    shown = table(map(plots.label, titles), map(_row, rows))
    return (
        f"<details><summary>Likeness, novelty, diversity: every figure</summary>{shown}</details>"
    )


def _sound(found: Mapping[str, Mapping[str, Estimate]]) -> str:
    """What was measured on the sound, folded away; nothing where nothing was."""
    if not found:
        return ""
    shown = table(("figure", *map(plots.label, found)), map(_row, tables.estimate_rows(found)))
    note = _small(tables.SOUND_NOTE)
    return f"<details><summary>The sound: every figure</summary>{shown}{note}</details>"


def _failures(found: Mapping[str, Mapping[str, str]]) -> str:
    """What could not be judged, and why; nothing where there was no such track."""
    rows = [(plots.label(name), key, why) for name, told in found.items()
            for key, why in told.items()]  # fmt: skip
    if not rows:
        return ""
    return f"<h2>Failures</h2>{table(('column', 'track', 'reason'), map(_row, rows))}"


def _row(cells: Sequence[str]) -> str:
    first, *rest = map(escape, cells)
    return f"<tr><th scope='row'>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"


def _every_figure(parts: Mapping[str, Any]) -> str:
    """The tidy table, folded away."""
    every = table(results.FIELDS, _tidy_rows(parts))
    return f"<details><summary>Every figure</summary>{every}</details>"


def _tidy_rows(parts: Mapping[str, Any]) -> Iterator[str]:
    for row in results.tidy(parts):
        cells = (row.get(name) for name in results.FIELDS)
        shown = (f"{c:.4g}" if isinstance(c, float) else str("" if c is None else c) for c in cells)
        yield "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in shown) + "</tr>"


__all__ = ["extremes", "notes_of", "preview", "ranked", "write"]
