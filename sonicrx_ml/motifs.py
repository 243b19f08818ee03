"""Motifs for listeners: composed once from a seed, or read from a MIDI file, and stored as JSON.

    python -m sonicrx_ml.motifs --seed 7 --mode minor P07.motif.json
    python -m sonicrx_ml.motifs --midi theirs.mid P07.motif.json

A composed motif is made to be sung: an octave wide, mostly steps, a rhythm that comes back, the
tonic triad at both ends. All choices are engineering defaults [E].
"""

from __future__ import annotations

import argparse
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from sonicrx_ml.anchor import BEATS, MOST_BARS, SCALES, Motif
from sonicrx_ml.keys import estimate_key
from sonicrx_ml.listener import Listener
from sonicrx_ml.notes import DRUMS, Floats, MidiError, Notes, read_midi

BARS = 4  # of a composed motif, at least: shorter ones would be too much alike
RHYTHMS: dict[int, tuple[tuple[float, ...], ...]] = {
    4: ((1, 1, 1, 1), (2, 1, 1), (1, 1, 2), (1.5, 0.5, 2), (1.5, 0.5, 1, 1), (1, 0.5, 0.5, 1, 1)),
    3: ((1, 1, 1), (2, 1), (1, 2), (1.5, 0.5, 1), (1, 0.5, 0.5, 1)),
    2: ((1, 1), (1.5, 0.5), (1, 0.5, 0.5), (0.5, 0.5, 1)),
}
COMPOUND = ((2 / 3, 1 / 3, 2 / 3, 1 / 3), (1, 2 / 3, 1 / 3), (2 / 3, 1 / 3, 1), (1, 1))
"Lengths of the notes of a bar, felt beats."
LOW, HIGH = -2, 5  # degrees: an octave from the leading tone below the tonic to the sixth above
MOVES = ((1, 0.36), (-1, 0.36), (2, 0.09), (-2, 0.09), (0, 0.06), (3, 0.02), (-3, 0.02))
LEAST_NOTES, LEAST_SPAN = 8, 5  # notes, and steps of the scale, of a composed motif
LARGEST_LEAP = 12  # semitones between notes of a top line that can be sung


# ---------------------------------------------------------------- composed


def composed(seed: int, mode: str = "major", meter: str = "4/4", bars: int = BARS) -> Motif:
    """The motif of a seed. Raises `ValueError` for a mode, meter or number of bars not legal."""
    if mode not in SCALES or meter not in BEATS or not BARS <= bars <= MOST_BARS:
        raise ValueError(
            f"motif in {mode}, {meter}, {bars} bars; legal are {', '.join(SCALES)}; "
            f"{', '.join(BEATS)}; {BARS} to {MOST_BARS} bars"
        )
    rng = np.random.default_rng(seed)
    while True:
        lengths = _rhythm(rng, meter, bars)
        degrees = _line(rng, len(lengths))
        if len(degrees) >= LEAST_NOTES and np.ptp(degrees) >= LEAST_SPAN:
            break
    return Motif(
        mode=mode,
        meter=meter,
        bars=bars,
        degree=tuple(degrees),
        alter=(0,) * len(degrees),
        onset=tuple((np.cumsum(lengths) - lengths).tolist()),
        length=tuple(lengths.tolist()),
    )


def _rhythm(rng: np.random.Generator, meter: str, bars: int) -> Floats:
    """Lengths: two bars in turn, and a last one that rests on its only note."""
    beats = BEATS[meter]
    legal = COMPOUND if meter == "6/8" else RHYTHMS[beats]
    first, second = rng.choice(len(legal), 2, replace=False)
    cells = [legal[(first, second)[bar % 2]] for bar in range(bars - 1)]
    return np.array([length for cell in cells for length in cell] + [float(beats)])


def _line(rng: np.random.Generator, notes: int) -> list[int]:
    """Degrees from the triad to the triad, by moves that can still get there."""
    line = [int(rng.choice([0, 2, 4]))]
    home = 0 if rng.random() < 0.8 else 2
    steps, chances = np.array(MOVES).T
    for left in range(notes - 2, -1, -1):
        then = line[-1] + steps.astype(int)
        near = np.abs(then - home) <= 2 * left
        chance = chances * near * (then >= LOW) * (then <= HIGH)
        line.append(int(rng.choice(then, p=chance / chance.sum())))
    return line


# ---------------------------------------------------------------- read


def from_notes(notes: Notes, tonic: int | None = None, mode: str | None = None) -> Motif:
    """The top line of a piece, in the key given or the one that is heard.

    Raises `ValueError` where it is no motif: of too many bars, empty, in several meters or one that
    is not legal, or a top line that leaps between voices.
    """
    melody = top_line(notes.select(notes.program != DRUMS))
    if len(melody) == 0:
        raise ValueError("anchor without pitched notes; legal is a melody")
    meters = dict.fromkeys(map(str, notes.meters))
    meter = next(iter(meters))
    if len(meters) > 1 or meter not in BEATS:
        raise ValueError(f"anchor in {', '.join(meters)}; legal is one of {', '.join(BEATS)}")
    leap = int(np.abs(np.diff(melody.pitch)).max(initial=0))
    if leap > LARGEST_LEAP:
        raise ValueError(
            f"anchor whose top line leaps by {leap} semitones; legal are up to {LARGEST_LEAP}: "
            f"leave the melody alone in the file"
        )
    key = estimate_key(melody)
    tonic, mode = key.tonic if tonic is None else tonic, mode or key.mode
    return _in_key(melody, tonic, mode, meter)


def top_line(notes: Notes) -> Notes:
    """The highest note of each onset, less those that begin while a higher one sounds."""
    order = np.lexsort((-notes.pitch, notes.onset))
    notes = notes.select(order)
    notes = notes.select(np.diff(notes.onset, prepend=-1.0) > 1 / 32)
    while True:
        hidden = (notes.onset[1:] < notes.release[:-1] - 1 / 8) & (np.diff(notes.pitch) < 0)
        if not hidden.any():
            return notes
        notes = notes.select(np.append(True, ~hidden))


def _in_key(melody: Notes, tonic: int, mode: str, meter: str) -> Motif:
    felt, beats = melody.meters[0].felt_beat, BEATS[meter]
    skipped = int(melody.onset[0] / felt / beats + 1e-6) * beats
    onset = melody.onset / felt - skipped
    bars = int(np.ceil((onset[-1] + 0.5) / beats))
    gap = np.diff(onset, append=bars * beats)
    degree, alter = _degrees(melody.pitch, tonic, mode)
    return Motif(
        mode=mode,
        meter=meter,
        bars=bars,
        degree=tuple(degree),
        alter=tuple(alter),
        onset=tuple(onset.tolist()),
        length=tuple(np.minimum(melody.duration / felt, gap).tolist()),
    )


def _degrees(pitch: np.ndarray, tonic: int, mode: str) -> tuple[list[int], list[int]]:
    """Steps of the scale from the tonic nearest to the middle of the line, and alterations.

    What is between two degrees is the lower one raised.
    """
    home = tonic + 12 * round((float(np.median(pitch)) - tonic) / 12)
    octave, rest = np.divmod(pitch - home, 12)
    scale = np.array(SCALES[mode])
    step = np.searchsorted(scale, rest, side="right") - 1
    return (step + 7 * octave).tolist(), (rest - scale[step]).tolist()


def load(path: Path | str) -> Motif:
    """From a stored motif (.json) or a MIDI file. Raises `ValueError` with the file and why."""
    path = Path(path)
    try:
        if path.suffix.lower() in (".mid", ".midi"):
            return from_notes(read_midi(path))
        return Motif.of(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}; legal is a MIDI or JSON file") from error
    except (MidiError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def profile(path: Path | str) -> Listener:
    """Read a listener's profile, with the motif that it names by a file or an id beside it.

    An id P07 stands for `P07.motif.json`. Raises `ValueError` with the file and why, and for a file
    that is not in the profile's folder or under it.
    """
    path = Path(path)
    try:
        listener = Listener.from_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(listener.anchor, str):
        return listener
    suffixed = re.search(r"\.(midi?|json)$", listener.anchor)
    named = path.parent / (listener.anchor if suffixed else f"{listener.anchor}.motif.json")
    if not named.resolve().is_relative_to(path.parent.resolve()):
        raise ValueError(f"{path}: anchor {listener.anchor!r}; legal are files beside the profile")
    return replace(listener, anchor=load(named))


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sonicrx_ml.motifs", description="store a motif"
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--seed", type=int, help="compose the motif of this seed")
    source.add_argument("--midi", type=Path, help="read the top line of this file")
    parser.add_argument("--mode", default="major", choices=tuple(SCALES), help="of a composed one")
    parser.add_argument("--meter", default="4/4", choices=tuple(BEATS), help="of a composed one")
    parser.add_argument("--bars", type=int, default=BARS, help="of a composed one")
    parser.add_argument("out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    try:
        motif = (
            load(given.midi)
            if given.midi
            else composed(given.seed, given.mode, given.meter, given.bars)
        )
    except ValueError as error:
        parser.error(str(error))
    given.out.write_text(motif.to_json() + "\n")
    print(f"{given.out}: {motif}")


if __name__ == "__main__":
    main()
