"""Music from anywhere, to be judged: a folder of MIDI and audio files, and what each was to be.

Either `prescriptions` is a JSON object from names to prescriptions, and the files of a track are
`NAME.mid` or `NAME.midi` and `NAME.flac`, `.wav`, `.mp3`, `.ogg` or `.opus` (either may be
missing); or every track is a folder, as `scripts/sample.py` leaves them, with a
`prescription.json` of its own.

What is missing or cannot be read counts as a failure, and its report says why.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import soundfile

from sonicrx_ml import audio
from sonicrx_ml.case import Sound
from sonicrx_ml.conformance import judge
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.suite import Judged

MIDI, AUDIO = (".mid", ".midi"), (".flac", ".wav", ".mp3", ".ogg", ".opus")


def judge_folder(folder: Path, prescriptions: Path | None = None) -> list[Judged]:
    """Judge every track, in the order of names.

    Raises `ValueError` where there is none, or a prescription is illegal, naming it.
    """
    found = [
        _judged(entry, stem, prescription)
        for entry, (stem, prescription) in enumerate(_listed(folder, prescriptions))
    ]
    if not found:
        raise ValueError(
            f"{folder} has no track: give prescriptions=FILE.json, or folders with a "
            "prescription.json each"
        )
    return found


def _listed(folder: Path, prescriptions: Path | None) -> Iterator[tuple[Path, Prescription]]:
    """Path without suffix of each track's files, and its prescription."""
    if prescriptions is None:
        for path in sorted(folder.glob("*/prescription.json")):
            yield path.with_name("track"), _legal(str(path), json.loads(path.read_text()))
        return
    listed = json.loads(prescriptions.read_text())
    if not isinstance(listed, dict):
        raise ValueError(f"{prescriptions}: legal is a JSON object from names to prescriptions")
    for name, values in sorted(listed.items()):
        if Path(name).name != name:
            raise ValueError(f"{prescriptions}: {name!r} is not the name of a file in {folder}")
        yield folder / name, _legal(f"{prescriptions}: {name}", values)


def _legal(name: str, values: object) -> Prescription:
    try:
        if not isinstance(values, dict):
            raise ValueError("a prescription is a JSON object")
        return Prescription.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _judged(entry: int, stem: Path, prescription: Prescription) -> Judged:
    midi, sound_path = _first(stem, MIDI), _first(stem, AUDIO)
    try:
        sound = None if sound_path is None else _heard(sound_path)
        notes = midi.read_bytes() if midi else None
        report = judge(prescription, notes, sound, psychoacoustics=True)
    except (soundfile.LibsndfileError, ValueError) as error:
        failed = judge(prescription, None)
        report = replace(failed, failure=f"{sound_path and sound_path.name}: {error}")
    return Judged(entry, prescription, report, midi or stem)


def _first(stem: Path, suffixes: tuple[str, ...]) -> Path | None:
    paths = (stem.with_name(stem.name + suffix) for suffix in suffixes)
    return next((path for path in paths if path.is_file()), None)


def _heard(path: Path) -> Sound:
    samples, rate = audio.load(path)
    if len(samples) > 2:
        raise ValueError(f"{len(samples)} channels; legal are 1 and 2")
    return samples, rate
