"""Prescription -> track: the one path that scripts, notebook and evaluation share.

`compose` writes notes (a whole batch in one pass; `composing` one piece, phrase by phrase),
`produce` makes one of them heard and judged,
`Track.save` leaves a folder:

    track.mid, track.flac, prescription.json, report.json, report.html, label.html, manifest.json

The manifest holds what is needed to make the same bytes again on the same machine.
"""

from __future__ import annotations

import hashlib
import json
import platform
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from sonicrx_ml import __version__, attributes, audio, canonical, label, report
from sonicrx_ml.acoustics import Curve
from sonicrx_ml.audio import Sound
from sonicrx_ml.canonical import Gridded
from sonicrx_ml.checkpoint import Bundle, replace_folder
from sonicrx_ml.conformance import deviation, judge
from sonicrx_ml.expression import perform
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.goals import evidence_note
from sonicrx_ml.mastering import Mastering, master
from sonicrx_ml.notes import Notes, write_midi
from sonicrx_ml.plan import PHRASE, BarPlan, plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import Choose, SamplingConfig, joined, sample, stream
from sonicrx_ml.tokens import Ids
from sonicrx_ml.verdicts import Report

PREVIEW = "preview.mp3"
TAIL_S = 3.0  # what rings on after the asked end, faded out
_PACKAGES = ("onnxruntime", "numpy", "miditok", "pretty_midi", "symusic")


@dataclass(frozen=True, slots=True)
class Composition:
    """What was composed for one prescription; `notes` are as performed, in the asked key."""

    prescription: Prescription
    plan: BarPlan
    notes: Notes
    midi: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """What has been composed so far of one prescription."""

    prescription: Prescription
    plan: BarPlan
    grid: Gridded

    @property
    def seconds(self) -> float:
        """Length of the bars there are."""
        return float(self.plan.seconds[min(len(self.grid.meters), len(self.plan))])

    def composition(self) -> Composition:
        """The bars there are, as performed, cut at their end; of the last, what `compose` gives."""
        whole, bars = _performed(self.prescription, self.plan, self.grid), len(self.grid.meters)
        if bars >= len(self.plan):
            return whole
        notes, end = whole.notes, self.plan.bars.edges[bars]
        notes = replace(notes, duration=np.minimum(notes.duration, end - notes.onset))
        return replace(whole, notes=notes, midi=write_midi(notes))


@dataclass(frozen=True, slots=True)
class Track:
    """A composition that sounds and has been judged."""

    composition: Composition
    sound: Sound
    mastering: Mastering
    report: Report
    manifest: Mapping[str, Any]
    listening: ListeningPlan | None = None

    @property
    def sections(self) -> tuple[tuple[str, float], ...]:
        """Name and start (s) of each section, for pages to mark."""
        return self.composition.plan.form

    def made_for(self, plan: ListeningPlan) -> Track:
        """The same as the track of a listener: told on its pages, recorded in its manifest.

        The manifest then has no prescription and no level, which tell of the person; the
        prescription's own file does.
        """
        personal = ("prescription", "playback_db_spl")
        kept = {name: value for name, value in self.manifest.items() if name not in personal}
        return replace(self, listening=plan, manifest={**kept, "listener": plan.record()})

    def in_course(self, name: str, day: int, last: int) -> Track:
        """The same as the track of a day of a course: told on its label, in its manifest."""
        place = {"name": name, "day": day, "of": last}
        return replace(self, manifest={**self.manifest, "course": place})

    def save(self, folder: Path, *, preview: bool = False) -> Path:
        """Write the track's folder, whole or not at all; an older one of that name is replaced.

        preview : leave `preview.mp3`, the sound of the report, in it too.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
            made = Path(work) / folder.name
            made.mkdir()
            self._write(made)
            if not preview:
                (made / PREVIEW).unlink()
            replace_folder(made, folder)
        return folder

    def _write(self, folder: Path) -> None:
        prescription = self.composition.prescription
        tags = {
            "title": f"SonicRx {prescription.goal or 'track'} {prescription.id}",
            "artist": "SonicRx",
            "prescription_id": prescription.id,
            "checkpoint_sha256": self.manifest["checkpoint_sha256"],
        }
        (folder / "track.mid").write_bytes(self.composition.midi)
        with ThreadPoolExecutor() as pool:  # the encoders are C, and work side by side
            preview = pool.submit(audio.save, self.sound, folder / PREVIEW, tags)
            pool.submit(audio.save, self.sound, folder / "track.flac", tags).result()
        (folder / "prescription.json").write_text(prescription.to_json() + "\n")
        (folder / "report.json").write_text(self.report.to_json() + "\n")
        (folder / "manifest.json").write_text(json.dumps(self.manifest, indent=1) + "\n")
        report.write_html(
            self.report,
            prescription,
            self.composition.notes,
            preview.result().read_bytes(),
            "audio/mpeg",
            folder / "report.html",
            evidence=evidence_note(prescription),
            listening=self.listening,
            form=self.sections,
        )
        (folder / "label.html").write_text(
            label.page(
                prescription, self.report, self.composition.notes, self.manifest, self.listening
            ),
            encoding="utf-8",
        )


def check(out: Path, engine: str = "auto", font: Path | None = None) -> None:
    """Refuse at once what `produce` and `Track.save` would refuse after composing.

    Raises `ValueError` for an engine or a font that cannot play, `OSError` for a folder of tracks
    that cannot be written to.
    """
    audio.check(engine, font)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


def compose(
    prescriptions: Sequence[Prescription], bundle: Bundle, sampling: SamplingConfig | None = None
) -> list[Composition]:
    """Compose every prescription, all takes of all in one batch; each follows its own seed.

    Of several takes (`sampling.best_of`), the one that the judge finds nearest goes on, phrase by
    phrase.
    """
    sampling = sampling or SamplingConfig()
    plans = [plan(prescription) for prescription in prescriptions]
    seeds = [prescription.seed for prescription in prescriptions]
    grids = sample(bundle, plans, seeds, sampling, chooser(prescriptions, plans))
    return [
        _performed(prescription, laid, grid)
        for prescription, laid, grid in zip(prescriptions, plans, grids, strict=True)
    ]


def composing(
    prescription: Prescription, bundle: Bundle, sampling: SamplingConfig | None = None
) -> Generator[Draft, None, None]:
    """Compose one prescription, phrase by phrase; the last draft is the whole, as of `compose`.

    Whoever closes the generator, or does not go on with it, stops the composing.
    """
    sampling, laid = sampling or SamplingConfig(), plan(prescription)
    choose = chooser([prescription], [laid])
    parts: list[Ids] = []
    for _, ids in stream(bundle, [laid], [prescription.seed], sampling, choose):
        parts.append(ids)
        yield Draft(prescription, laid, joined(parts, bundle.vocabulary))


def _performed(prescription: Prescription, laid: BarPlan, grid: Gridded) -> Composition:
    notes = perform(canonical.unsnap(grid), laid)
    return Composition(prescription, laid, notes, write_midi(notes))


def chooser(prescriptions: Sequence[Prescription], plans: Sequence[BarPlan]) -> Choose:
    """Who chooses among takes: `conformance.deviation`, at the end of each phrase."""

    def choose(index: int, first: int, takes: Sequence[Gridded]) -> int:
        off = [_deviation(prescriptions[index], plans[index], first, grid) for grid in takes]
        return int(np.argmin(off))

    return choose


def _deviation(prescription: Prescription, laid: BarPlan, first: int, grid: Gridded) -> float:
    """How far the last phrase of bars `first` and on is off, as they will be performed."""
    bars = min(len(grid.meters), len(laid) - first)
    if len(grid) == 0:
        return np.inf
    part = laid.part(first, first + bars)
    return deviation(prescription, part, perform(canonical.unsnap(grid), part), bars - PHRASE, bars)


def produce(
    composition: Composition,
    bundle: Bundle,
    sampling: SamplingConfig | None = None,
    engine: str = "auto",
    font: Path | None = None,
    psychoacoustics: bool = False,
) -> Track:
    """Render, master and judge a composition; `psychoacoustics` as in `conformance.judge`."""
    prescription = composition.prescription
    seconds = prescription.duration_s + TAIL_S
    sound, mastering = master(
        rendered(composition.midi, seconds, engine, font),
        target_lufs=prescription.target_lufs,
        fade_out_s=TAIL_S,
        end_s=seconds,
        dynamics=_dynamics(composition),
        breath=composition.plan.breath,
    )
    heard = (sound.samples, sound.rate)
    judged = judge(prescription, composition.midi, heard, psychoacoustics=psychoacoustics)
    manifest = _manifest(composition, bundle, sampling or SamplingConfig(), sound, mastering)
    return Track(composition, sound, mastering, judged, manifest)


def _dynamics(composition: Composition) -> Curve:
    """The loudness that velocities mean, at the middle of each bar."""
    laid = composition.plan
    level = attributes.loudness_db(composition.notes, laid.bars)
    told = np.isfinite(level)
    return Curve(((laid.seconds[:-1] + laid.seconds[1:]) / 2)[told], level[told], "dB")


def rendered(midi: bytes, seconds: float, engine: str, font: Path | None) -> Sound:
    """How it sounds, with silence after it where it is shorter: a final one is part of a track."""
    sound = audio.render(midi, engine=engine, font=font, tail_s=TAIL_S)
    short = round(seconds * sound.rate) - sound.samples.shape[1]
    if short <= 0:
        return sound
    return replace(sound, samples=np.pad(sound.samples, ((0, 0), (0, short))))


def _manifest(
    composition: Composition,
    bundle: Bundle,
    sampling: SamplingConfig,
    sound: Sound,
    mastering: Mastering,
) -> dict[str, Any]:
    prescription = composition.prescription
    return {
        "prescription_id": prescription.id,
        "prescription": prescription.to_dict(),
        "seed": prescription.seed,
        "midi_sha256": hashlib.sha256(composition.midi).hexdigest(),
        "mastering": asdict(mastering),
        "playback_db_spl": prescription.playback_db_spl,
        "sections": [{"name": name, "start_s": start} for name, start in composition.plan.form],
        "reproduce": "python scripts/sample.py prescription=<this folder>/prescription.json, with "
        "this checkpoint, sampling, engine, font and versions on the same machine, gives the same "
        "MIDI bytes",
    } | made_by(bundle, sampling, sound)


def made_by(bundle: Bundle, sampling: SamplingConfig, sound: Sound) -> dict[str, Any]:
    """What a manifest says of composer, player, versions and machine."""
    return {
        "checkpoint": bundle.name,
        "checkpoint_sha256": bundle.sha256,
        "sampling": asdict(sampling),
        "engine": sound.engine,
        "font": sound.font,
        "font_sha256": sound.font_sha256,
        "versions": {"sonicrx_ml": __version__, "python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
        "machine": platform.machine(),
    }
