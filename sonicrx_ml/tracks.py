"""Music from anywhere, to be judged: a folder of MIDI and audio files, and what each was to be.

Either `prescriptions` is a JSON object from names to prescriptions, and the files of a track are
its name with a suffix of `MIDI` and one of `AUDIO` (either may be missing); or every track is a
folder, as `scripts/sample.py` leaves them, with a `prescription.json` of its own.

What is missing or cannot be read counts as a failure, and its report says why. What is judged is
kept, a line of `out/tracks.jsonl` each, and not judged again while its files, its prescription and
the judge are the same: so a run that was stopped goes on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import soundfile
from rich.progress import track

from sonicrx_ml import audio
from sonicrx_ml.case import Sound
from sonicrx_ml.conformance import judge
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.suite import Judged, key_of, whole_lines
from sonicrx_ml.verdicts import Report

MIDI, AUDIO = (".mid", ".midi"), (".flac", ".wav", ".mp3", ".ogg", ".opus", ".aiff", ".aif")
OWN_NAME = "track"  # of the files in the folder of a track of ours
LEGAL = f"legal are {', '.join(MIDI)} and {', '.join(AUDIO)}"


@dataclass(frozen=True, slots=True)
class Listed:
    """A track to judge: its prescription, and what files there are of it."""

    name: str
    prescription: Prescription
    stem: Path
    """Path of the files without their suffixes."""
    midi: Path | None
    audio: Path | None
    others: tuple[Path, ...]
    """Files of its name that are neither."""


def listed(folder: Path, prescriptions: Path | None = None) -> list[Listed]:
    """The tracks of a folder, in the order of names.

    Raises `ValueError` where there is none, where none has a file, or where a prescription is
    illegal, naming it.
    """
    if not folder.is_dir():
        raise ValueError(f"tracks={folder} is no folder")
    files: dict[Path, list[Path]] = {}
    for path in sorted(folder.glob("*/*" if prescriptions is None else "*")):
        if path.is_file():
            files.setdefault(path.with_name(path.stem), []).append(path)
    asked = _asked(folder, prescriptions)
    found = [_with_files(stem, wanted, files.get(stem, [])) for stem, wanted in asked]
    if not found:
        raise ValueError(
            f"{folder} has no track: give prescriptions=FILE.json, or folders with a "
            "prescription.json each"
        )
    if not any(one.midi or one.audio for one in found):
        raise ValueError(f"{folder} has no file of any track, {found[0].name} first; {LEGAL}")
    return found


def unclaimed(folder: Path, tracks: list[Listed]) -> list[str]:
    """Names of the MIDI and audio files in a folder that belong to no track, and of folders of ours
    with music that was composed on to a file: what is prescribed is a part of it."""
    claimed = {one.stem for one in tracks}
    music = (p for p in sorted(folder.glob("*")) if p.suffix.lower() in MIDI + AUDIO)
    names = [path.name for path in music if path.with_name(path.stem) not in claimed]
    return names + [path.name for path in sorted(folder.glob("*")) if _is_prompted(path)]


def judge_all(tracks: list[Listed], out: Path) -> list[Judged]:
    """Judge every track, or take from `out` what was judged before."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "tracks.jsonl"
    done = {row["key"]: row["report"] for row in map(json.loads, whole_lines(path))}
    found = []
    with path.open("a") as file:
        for entry, one in enumerate(track(tracks, "tracks")):
            key = key_of(_contents(one), one.prescription)
            if key in done:
                report = Report.from_dict(done[key])
            else:
                report = _report(one)
                file.write(json.dumps({"key": key, "report": report.to_dict()}) + "\n")
                file.flush()
            midi = one.midi or one.stem.with_name(f"{one.stem.name}.mid")
            found.append(Judged(entry, one.prescription, report, midi, one.audio))
    return found


def _contents(one: Listed) -> str:
    """What a report hangs on beside the prescription and the judge: this module, and the files."""
    files = [path for path in (one.midi, one.audio) if path]
    digests = [f"{p.name} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in files]
    code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return json.dumps([code, *digests, *(path.name for path in one.others)])


def _asked(folder: Path, prescriptions: Path | None) -> Iterator[tuple[Path, Prescription]]:
    """Path without suffix of each track's files, and its prescription."""
    if prescriptions is None:
        for path in sorted(folder.glob("*/prescription.json")):
            if not _is_prompted(path.parent):
                yield path.with_name(OWN_NAME), _legal(str(path), _json(path))
        return
    values = _json(prescriptions)
    if not isinstance(values, dict):
        raise ValueError(f"{prescriptions}: legal is a JSON object from names to prescriptions")
    names: dict[str, str] = {}
    for name, asked in sorted(values.items()):
        if not name or Path(name).name != name:
            raise ValueError(f"{prescriptions}: {name!r} is not the name of a file in {folder}")
        stem = Path(name).stem if Path(name).suffix.lower() in MIDI + AUDIO else name
        if names.setdefault(stem, name) != name:
            raise ValueError(f"{prescriptions}: {names[stem]!r} and {name!r} are one track")
        yield folder / stem, _legal(f"{prescriptions}: {name}", asked)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}; legal is JSON") from error


def _is_prompted(folder: Path) -> bool:
    """Whether a track of ours was composed on to a given file: its prescription is of a part."""
    try:
        values = _json(folder / "manifest.json")
    except (OSError, ValueError):  # none, or not ours
        return False
    return isinstance(values, dict) and "new_bars" in values


def _legal(name: str, values: object) -> Prescription:
    try:
        if not isinstance(values, dict):
            raise ValueError("a prescription is a JSON object")
        return Prescription.from_dict(values)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _with_files(stem: Path, prescription: Prescription, mine: list[Path]) -> Listed:
    midi, sound = (
        next((p for kind in legal for p in mine if p.suffix.lower() == kind), None)
        for legal in (MIDI, AUDIO)
    )
    others = tuple(p for p in mine if p.suffix.lower() not in (*MIDI, *AUDIO, ".json", ".html"))
    name = stem.parent.name if stem.name == OWN_NAME else stem.name
    return Listed(name, prescription, stem, midi, sound, others)


def _report(one: Listed) -> Report:
    if one.midi is None and one.audio is None and one.others:
        strange = ", ".join(path.name for path in one.others)
        failed = judge(one.prescription, None)
        return replace(failed, failure=f"{strange}: neither MIDI nor sound that is read; {LEGAL}")
    try:
        sound = None if one.audio is None else _heard(one.audio)
        notes = None if one.midi is None else one.midi.read_bytes()
        return judge(one.prescription, notes, sound, psychoacoustics=True)
    except (soundfile.LibsndfileError, ValueError) as error:
        failed = judge(one.prescription, None)
        return replace(failed, failure=f"{one.audio.name if one.audio else one.name}: {error}")


def _heard(path: Path) -> Sound:
    samples, rate = audio.load(path)
    if len(samples) > 2:
        raise ValueError(f"{len(samples)} channels; legal are 1 and 2")
    return samples, rate


__all__ = ["AUDIO", "LEGAL", "MIDI", "Listed", "judge_all", "listed", "unclaimed"]
