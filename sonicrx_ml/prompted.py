"""A prompted track as a folder: the file with its new bars, its sound, and a report on the bars.

    track.mid, track.flac, prescription.json, report.json, report.html, label.html, manifest.json

The report is about the notes of the new bars alone: what is given was not asked for. Limits for
every track and figures of the sound are those of the whole file. Bars that are shorter than the
shortest legal track are not judged, and have neither report nor label.
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
from sonicrx_ml.compose import TAIL_S, made_by
from sonicrx_ml.conformance import judge
from sonicrx_ml.fitting import ListeningPlan
from sonicrx_ml.given import Source
from sonicrx_ml.goals import evidence_note
from sonicrx_ml.mastering import master
from sonicrx_ml.notes import read_midi
from sonicrx_ml.prompting import Prompted
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.verdicts import Report


def judged(made: Prompted, sound: Sound | None = None) -> Report | None:
    """What the judge finds in the new bars; None where they are a part of what is prescribed.

    sound : of the whole file, for what does not hang on what was asked: limits and figures.
    """
    composition = made.composition
    if abs(composition.plan.seconds[-1] - composition.prescription.music_s) > 0.5:
        return None
    found = judge(composition.prescription, composition.midi)
    if sound is None:
        return found
    whole = judge(composition.prescription, None, (sound.samples, sound.rate))
    kept = (row for row in whole.verdicts if row.limit or row.verdict == "info")
    return replace(found, verdicts=(*found.verdicts, *kept))


def save(
    made: Prompted,
    source: Source,
    bundle: Bundle,
    sampling: SamplingConfig,
    folder: Path,
    engine: str = "auto",
    font: Path | None = None,
    listening: ListeningPlan | None = None,
) -> Path:
    """Render and write the folder, whole or not at all; an older one of that name is replaced.

    listening : of the listener it is for: told in the report, recorded in the manifest.
    """
    sound, mastering = master(
        audio.render(made.midi, engine=engine, font=font, tail_s=TAIL_S),
        target_lufs=made.composition.prescription.target_lufs,
        fade_out_s=TAIL_S,
    )
    manifest = _manifest(made, source, bundle, sampling, sound) | {"mastering": asdict(mastering)}
    if listening:
        manifest["listener"] = listening.record()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as work:
        inner = Path(work) / folder.name
        inner.mkdir()
        _write(made, sound, manifest, inner, listening)
        replace_folder(inner, folder)
    return folder


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
) -> None:
    prescription, found = made.composition.prescription, judged(made, sound)
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
        "seconds": read_midi(made.midi).end_seconds,
    } | made_by(bundle, sampling, sound)


def summary(made: Prompted, source: Source) -> str:
    """What was done, in a few lines."""
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
    found = judged(made)
    lines.append(
        "the new bars are too short to be judged" if found is None else report.summary(found)
    )
    return "\n".join(lines)
