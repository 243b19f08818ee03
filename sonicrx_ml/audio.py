"""MIDI bytes -> waveform, and waveform <-> file.

`render` plays a MIDI file with a SoundFont; `save` and `load` are the files. Everything is stereo,
48 kHz, float32, full scale 1.0; renders of equal input are sample-identical. How loud a render is
depends on engine and font: compare levels only between sounds of one `engine` and `font_sha256`.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pretty_midi
import soundfile
from numpy.typing import NDArray

from sonicrx_ml import ogg, synthesis
from sonicrx_ml.synthesis import RATE, Event, Frames

Player: TypeAlias = Callable[[list[Event], int, Path], Frames]
"""Events, frames and font to (2, frames)."""

ENGINES = ("auto", "fluidsynth", "tinysoundfont")
FONT_VARIABLE = "SONICRX_SOUNDFONT"
SYSTEM_FONTS = (  # as Debian, Fedora and Arch install them; the best first
    "/usr/share/sounds/sf2/FluidR3_GM.sf2",
    "/usr/share/soundfonts/FluidR3_GM.sf2",
    "/usr/share/sounds/sf2/MuseScore_General.sf2",
    "/usr/share/soundfonts/MuseScore_General.sf2",
    "/usr/share/sounds/sf2/TimGM6mb.sf2",
)
PACKAGED_FONT = Path(pretty_midi.__file__).parent / "TimGM6mb.sf2"  # used in place: GPL-2 data

FORMATS = {  # suffix -> container and encoding
    ".wav": ("WAV", "PCM_24"),
    ".flac": ("FLAC", "PCM_24"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".opus": ("OGG", "OPUS"),
}
NATIVE_TAGS = ("title", "artist", "album", "date", "genre", "copyright")
CHUNK_FRAMES = 16_384  # libsndfile's compressors are fed piecewise: one long write can crash them


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A stereo waveform and what made it."""

    samples: NDArray[np.float32]
    """(2, n), full scale 1.0."""
    rate: int
    """Hz."""
    engine: str
    """Name and version of the synthesizer."""
    font: str
    """File name of the SoundFont."""
    font_sha256: str

    @property
    def seconds(self) -> float:
        return self.samples.shape[1] / self.rate


# ---------------------------------------------------------------- MIDI -> sound


def render(
    midi: bytes, *, engine: str = "auto", font: Path | None = None, tail_s: float = 4.0
) -> Sound:
    """Play a MIDI file; the sound goes on for `tail_s` seconds after its last event.

    `engine` auto is FluidSynth where its library is found, else tinysoundfont. `font` None is
    $SONICRX_SOUNDFONT, else a General MIDI font of the system, else the one within pretty_midi.
    """
    if not 0.0 <= tail_s <= 60.0:
        raise ValueError(f"tail_s {tail_s}; legal are 0 to 60 s")
    name, play = _player(engine)
    path = find_font(font)
    events = synthesis.read_events(midi)
    samples = play(events, events[-1].frame + round(tail_s * RATE), path)
    return Sound(samples, RATE, name, path.name, font_hash(path, path.stat().st_mtime_ns))


def check(engine: str = "auto", font: Path | None = None) -> tuple[str, str]:
    """Play a moment of nothing: raises now the `ValueError` or `OSError` that `render` would.

    Returns what its sound depends on: name and version of the engine, and the SoundFont's SHA-256.
    """
    name, play = _player(engine)
    path = find_font(font)
    play([], 1, path)
    return name, font_hash(path, path.stat().st_mtime_ns)


def _player(engine: str) -> tuple[str, Player]:
    """Name and version of the engine, and what plays events with it."""
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r}; legal are {', '.join(ENGINES)}")
    module = synthesis.fluidsynth()
    if engine == "fluidsynth" and module is None:
        raise ValueError("engine 'fluidsynth' needs the FluidSynth library; legal: tinysoundfont")
    if module is None or engine == "tinysoundfont":
        return synthesis.tinysoundfont_version(), synthesis.render_tinysoundfont
    return synthesis.fluidsynth_version(module), synthesis.render_fluidsynth


def find_font(font: Path | None = None) -> Path:
    """The SoundFont to use: the given one, the environment's, the system's, or the packaged one."""
    given = font or os.environ.get(FONT_VARIABLE)
    if given is None:
        return next((Path(p) for p in SYSTEM_FONTS if Path(p).is_file()), PACKAGED_FONT)
    if not Path(given).is_file():
        raise ValueError(
            f"font {str(given)!r} is not a file; legal are paths of .sf2 files, "
            f"or none given and ${FONT_VARIABLE} unset for a font of the system"
        )
    return Path(given)


@cache
def font_hash(path: Path, _modified_ns: int) -> str:
    """SHA-256 of a file, computed once per modification."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# ---------------------------------------------------------------- files


def save(sound: Sound, path: Path | str, tags: Mapping[str, str]) -> Path:
    """Write .wav or .flac (24 bits), .mp3 or .opus, whole or not at all; equal input, equal bytes.

    NATIVE_TAGS go into the fields of the format; all others, with the engine and the font, into its
    comment as one JSON object, where `read_tags` finds them.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"suffix {path.suffix!r} of {path.name}; legal are {', '.join(FORMATS)}")
    peak = max(sound.samples.max(initial=0.0), -sound.samples.min(initial=0.0))
    if not peak <= 1.0:
        raise ValueError(f"peak {peak:.3f} would clip in {path.name}; legal are up to 1: master it")
    made_by = {"engine": sound.engine, "font": sound.font, "font_sha256": sound.font_sha256}
    other = {key: value for key, value in tags.items() if key not in NATIVE_TAGS}
    comment = json.dumps(made_by | other, sort_keys=True, ensure_ascii=False)
    native = {key: tags[key] for key in NATIVE_TAGS if key in tags}
    partial = path.with_name(f".{path.name}.partial")
    try:
        _write(sound, partial, *FORMATS[path.suffix], native | {"comment": comment})
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _write(
    sound: Sound, path: Path, container: str, encoding: str, fields: Mapping[str, str]
) -> None:
    channels, frames = sound.samples.shape
    with soundfile.SoundFile(
        path, "w", sound.rate, channels, subtype=encoding, format=container
    ) as file:
        for key, value in fields.items():
            setattr(file, key, value)
        for start in range(0, frames, CHUNK_FRAMES):
            chunk = sound.samples[:, start : start + CHUNK_FRAMES]
            file.write(np.ascontiguousarray(chunk.T))
    if container == "OGG":
        ogg.renumber(path)


def load(path: Path | str) -> tuple[NDArray[np.float32], int]:
    """Samples (channels, n) and rate (Hz) of an audio file."""
    frames, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return np.ascontiguousarray(frames.T), rate


def read_tags(path: Path | str) -> dict[str, str]:
    """The tags that `save` wrote, and the engine, font and font_sha256 of the sound."""
    with soundfile.SoundFile(path) as file:
        fields = file.copy_metadata()
    native = {key: fields[key] for key in NATIVE_TAGS if fields.get(key)}
    return {**json.loads(fields["comment"]), **native}
