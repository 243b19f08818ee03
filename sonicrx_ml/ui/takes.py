"""Takes: what was made, as the page hears, shows, checks and exports it.

A take is the folder that `compose.Track.save` left, with its preview. Nothing of it is in memory
alone, so it is there again when the page is loaded anew.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np

from sonicrx_ml import audio, compose, drawing
from sonicrx_ml.audio import Sound
from sonicrx_ml.compose import PREVIEW, Composition, Draft
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import Notes, TempoMap, read_midi, write_midi
from sonicrx_ml.palette import PALETTE, RANGES
from sonicrx_ml.plan import BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.report import met
from sonicrx_ml.ui.words import describe
from sonicrx_ml.verdicts import Report

FORMATS = ("flac", "wav", "mp3", "opus")
ALWAYS = (
    "track.mid", "prescription.json", "report.json", "report.html", "label.html", "manifest.json"
)  # fmt: skip
FIRST_HEARD_S = 8.0  # of music, before the first of it is played
CLOSEST_MARKS = 0.01  # of the music


@dataclass(frozen=True)
class Take:
    """One take and where it is."""

    folder: Path

    @classmethod
    def all_in(cls, folder: Path) -> list[Take]:
        """The takes of a folder, the oldest first."""
        made = [path for path in folder.glob("*") if (path / PREVIEW).is_file()]
        return [cls(path) for path in sorted(made, key=lambda path: path.stat().st_mtime_ns)]

    @cached_property
    def prescription(self) -> Prescription:
        return Prescription.from_json((self.folder / "prescription.json").read_bytes())

    @cached_property
    def report(self) -> Report:
        return Report.from_json((self.folder / "report.json").read_bytes())

    @property
    def name(self) -> str:
        return f"Take {self.prescription.seed}"

    @property
    def sound(self) -> str:
        """The name of its preview; another one where it was made anew."""
        made = (self.folder / PREVIEW).stat().st_mtime_ns
        return f"take/{self.folder.name}/{made}/{PREVIEW}"

    @property
    def summary(self) -> str:
        return f"{met(self.report)}. {describe(self.prescription)}."

    def figure(self) -> str:
        """Piano roll, asked and realised curves, loudness."""
        return drawing.figures(self.report, read_midi(self.folder / "track.mid"))[0]

    def marks(self) -> list[tuple[float, str]]:
        return marks(self.prescription, plan(self.prescription))

    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")


def marks(prescription: Prescription, laid: BarPlan) -> list[tuple[float, str]]:
    """Second and name of what begins in a track: turns of the tempo, anchors, silence."""
    music = prescription.music_s
    found = [(0.0, "start")]
    found += [(music * at, name) for at, name in _turns(prescription)]
    found += [(float(laid.seconds[s.first]), f"section {s.label}") for s in laid.sections[1:]]
    for number, place in enumerate(laid.anchors, 1):
        found.append((float(laid.tempo.seconds(place.onset[:1])[0]), f"anchor {number}"))
    if prescription.final_silence_s:
        found.append((music, "silence"))
    return [(round(at, 2), name) for at, name in sorted(found)]


def _turns(prescription: Prescription) -> Iterator[tuple[float, str]]:
    """Where the tempo begins to go another way."""
    points = prescription.tempo_curve.points
    slopes = [np.sign(b[1] - a[1]) for a, b in itertools.pairwise(points)]
    for (at, _), before, after in zip(points[1:], slopes, slopes[1:], strict=False):
        if before != after and CLOSEST_MARKS < at < 1 - CLOSEST_MARKS:
            yield at, {0: "tempo held", 1: "faster", -1: "slower"}[int(after)]


# ---------------------------------------------------------------- heard early


def early_sound(draft: Draft) -> tuple[bytes, str]:
    """What has been composed so far as MP3 and as a picture; not yet judged."""
    begun = draft.composition()
    return encoded(_rendered(begun), ".mp3"), drawing.picture(begun.notes)


def _rendered(composition: Composition) -> Sound:
    sound = audio.render(composition.midi, tail_s=compose.TAIL_S)
    target = composition.prescription.target_lufs
    return master(sound, target_lufs=target, fade_out_s=compose.TAIL_S)[0]


@cache
def instrument_sound(name: str) -> bytes:
    """A few notes of an instrument of the palette, as MP3. Raises `ValueError` for another name."""
    if name not in PALETTE:
        raise ValueError(f"instrument {name!r}; legal are {', '.join(PALETTE)}")
    program, family = PALETTE[name]
    low, high = RANGES[family]
    root = (low + high) // 2 - 6
    steps = np.array([0, 4, 7, 12])
    notes = Notes(
        onset=np.arange(4.0),
        duration=np.array([1.0, 1.0, 1.0, 2.0]),
        pitch=root + steps,
        velocity=np.full(4, 72),
        program=np.full(4, program),
        tempo=TempoMap(np.zeros(1), np.full(1, 100.0)),
    )
    sound = audio.render(write_midi(notes), tail_s=1.0)
    return encoded(master(sound, fade_out_s=1.0)[0], ".mp3")


def encoded(sound: Sound, suffix: str) -> bytes:
    """A sound as the bytes of a file."""
    with tempfile.TemporaryDirectory() as folder:
        return audio.save(sound, Path(folder) / f"sound{suffix}", {}).read_bytes()


# ---------------------------------------------------------------- export


def export(take: Take, formats: Sequence[str], path: Path) -> Path:
    """A zip of the take: sound in the formats asked, notes, JSON, report and label.

    Written to another name first. Raises `ValueError` for an unknown format or none.
    """
    if not formats or any(kind not in FORMATS for kind in formats):
        raise ValueError(f"formats {', '.join(formats) or 'none'}; legal are {', '.join(FORMATS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ALWAYS:
                archive.write(take.folder / name, f"{take.folder.name}/{name}")
            for kind in formats:
                stored = f"{take.folder.name}/track.{kind}"
                archive.writestr(stored, _sound(take, kind), zipfile.ZIP_STORED)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _sound(take: Take, kind: str) -> bytes:
    flac = take.folder / "track.flac"
    if kind == "flac":
        return flac.read_bytes()
    samples, rate = audio.load(flac)
    tags = audio.read_tags(flac)
    made_by = {name: tags.pop(name) for name in ("engine", "font", "font_sha256")}
    with tempfile.TemporaryDirectory() as folder:
        sound = Sound(samples, rate, **made_by)
        return audio.save(sound, Path(folder) / f"track.{kind}", tags).read_bytes()
