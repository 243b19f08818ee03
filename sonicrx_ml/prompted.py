"""A prompted track as a folder: the file with its new bars, its sound, and a report on the bars.

    track.mid, track.flac, prescription.json, report.json, report.html, label.html, manifest.json

The report is about the notes of the new bars alone, since what is given was not asked for, and on
the sound of the whole file: its length, loudness, final silence, and what holds for every track.
Bars that are shorter than the shortest legal track are not judged, and have neither report nor
label.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sonicrx_ml import audio, report
from sonicrx_ml import label as printed
from sonicrx_ml.audio import Sound
from sonicrx_ml.checkpoint import Bundle, replace_folder
from sonicrx_ml.compose import TAIL_S, made_by, rendered
from sonicrx_ml.conformance import judge
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.given import Source
from sonicrx_ml.goals import evidence_note
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import read_midi
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.prompting import Prompted
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report


def judged(made: Prompted, sound: Sound | None = None) -> Report | None:
    """What the judge finds in the new bars; None where they are a part of what is prescribed.

    sound : of the whole file, which is held to its length, loudness and final silence and to the
        limits for every track; nothing else was asked of what is given. Left out where the file is
        longer than any legal track.
    """
    composition = made.composition
    if abs(composition.plan.seconds[-1] - composition.prescription.music_s) > 0.5:
        return None
    found = judge(composition.prescription, composition.midi)
    if sound is None or seconds_of(made) > CONTROLS["duration_s"].high:
        return found
    whole = judge(of_the_whole(made), None, (sound.samples, sound.rate))
    rows = (row for row in whole.verdicts if row.verdict != "not asked")
    failure = found.failure or whole.failure
    return replace(found, failure=failure, verdicts=(*found.verdicts, *rows))


def of_the_whole(made: Prompted) -> Prescription:
    """What is asked of the sound of the whole file."""
    asked = made.composition.prescription
    return Prescription(
        duration_s=max(seconds_of(made), CONTROLS["duration_s"].low),
        final_silence_s=asked.final_silence_s,
        max_sharpness_acum=asked.max_sharpness_acum,
        target_lufs=asked.target_lufs,
        playback_db_spl=asked.playback_db_spl,
    )


def seconds_of(made: Prompted) -> float:
    """Length of the file with its new bars, and of the silence that is to follow it."""
    silence = made.composition.prescription.final_silence_s
    return read_midi(made.midi).end_seconds + silence


def save(
    made: Prompted,
    source: Source,
    bundle: Bundle,
    sampling: SamplingConfig,
    folder: Path,
    engine: str = "auto",
    font: Path | None = None,
    listening: ListeningPlan | None = None,
) -> Report | None:
    """Render and write the folder, whole or not at all; an older one of that name is replaced.

    Returns what the judge found (see `judged`).

    listening : of the listener it is for: told in the report, recorded in the manifest.
    """
    seconds = seconds_of(made) + TAIL_S
    sound, mastering = master(
        rendered(made.midi, seconds, engine, font),
        target_lufs=made.composition.prescription.target_lufs,
        fade_out_s=TAIL_S,
        end_s=seconds,
    )
    manifest = _manifest(made, source, bundle, sampling, sound) | {"mastering": asdict(mastering)}
    if listening:
        manifest["listener"] = listening.record()
    found = judged(made, sound)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
        inner = Path(work) / folder.name
        inner.mkdir()
        _write(made, sound, manifest, inner, listening, found)
        replace_folder(inner, folder)
    return found


def label(made: Prompted, source: Source, listening: ListeningPlan | None = None) -> str:
    """A file name: of the bytes that were given, as their own name may be a person's."""
    digest = hashlib.sha256(source.data).hexdigest()[:8]
    whose = f"{listening.listener}-" if listening else ""
    return f"{whose}given-{digest}-{made.composition.prescription.label}"


def _write(
    made: Prompted,
    sound: Sound,
    manifest: dict[str, Any],
    folder: Path,
    listening: ListeningPlan | None,
    found: Report | None,
) -> None:
    prescription = made.composition.prescription
    (folder / "track.mid").write_bytes(made.midi)
    audio.save(sound, folder / "track.flac", {"title": f"SonicRx {prescription.id}"})
    (folder / "prescription.json").write_text(prescription.to_json() + "\n")
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    if found is not None:
        (folder / "report.json").write_text(found.to_json() + "\n")
        path, notes = folder / "report.html", made.composition.notes
        form = made.composition.plan.form
        report.write_html(
            found,
            prescription,
            notes,
            None,
            "",
            path,
            evidence=evidence_note(prescription),
            listening=listening,
            form=form,
        )
        page = printed.page(prescription, found, notes, manifest, listening)
        (folder / "label.html").write_text(page, encoding="utf-8")


def _manifest(
    made: Prompted, source: Source, bundle: Bundle, sampling: SamplingConfig, sound: Sound
) -> dict[str, Any]:
    prescription = made.composition.prescription
    return {
        "prescription_id": prescription.id,
        "seed": prescription.seed,
        "given_sha256": hashlib.sha256(source.data).hexdigest(),
        "midi_sha256": hashlib.sha256(made.midi).hexdigest(),
        "new_bars": list(made.bars),
        "filled": made.filled,
        "notes": {
            "kept": made.kept,
            "replaced": made.replaced,
            "new": len(made.composition.notes),
            "given_but_not_heard_as_written": dict(source.lost),
        },
        "seconds": seconds_of(made),
    } | made_by(bundle, sampling, sound)


def summary(made: Prompted, source: Source, found: Report | None) -> str:
    """What was done, in a few lines, and what the judge found."""
    first, last = made.bars
    lines = [
        f"bars {first} to {last} are new: {len(made.composition.notes)} notes; of the file's, "
        f"{made.kept} are kept and {made.replaced} replaced"
    ]
    if source.lost:
        told = ", ".join(
            f"{count} {reason.replace('_', ' ')}" for reason, count in source.lost.items()
        )
        lines.append(f"kept, but not heard by the composer as written: {told}")
    lines.append(
        "the new bars are too short to be judged" if found is None else report.summary(found)
    )
    return "\n".join(lines)
