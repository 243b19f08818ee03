"""The prescription laid over bars: what each bar is asked to be, and when it sounds.

Tempo and duration are exact by construction. The felt beats of the music are the integral of the
tempo curve over its seconds; the tempo map has one entry per felt beat, so it meets the curve's
integral at every beat. The music ends at the asked second, not necessarily at a bar line: when
less than half a bar would be left over, the last full bar is held beyond its bar line (a fermata),
otherwise a last bar is begun and cut there.

Units: quarters on the page, seconds in the ear, felt BPM (see `notes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import anchor, appoggiatura, emotion, sections
from sonicrx_ml.appoggiatura import Appoggiatura
from sonicrx_ml.breathing import Breath, bars_per_breath
from sonicrx_ml.curve import Curve
from sonicrx_ml.notes import Bars, Meter, TempoMap
from sonicrx_ml.palette import PALETTE, RANGES
from sonicrx_ml.prescription import (
    CONTROLS,
    OPEN_INSTRUMENTS,
    OPEN_METER,
    TONICS,
    Prescription,
)
from sonicrx_ml.sections import Return, Section

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_HOME = {mode: TONICS.index(tonic) for mode, tonic in (("major", "C"), ("minor", "A"))}
PHRASE = 4  # bars in which the same instruments play

#: Names of the per-bar targets, in order.
TARGETS = (
    "tempo",
    "density",
    "polyphony",
    "register",
    "articulation",
    "chromaticism",
    "energy",
)


LIFT = 5  # semitones of a motif's middle above the asked mean pitch: it is the top voice [E]
CLIMAX = 9  # semitones of the peak of an arc above it: everybody else begins below [E]
OPEN_REGISTER = 65.0  # MIDI pitch, where the register is open [E]


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """One place where the anchor sounds: its notes, canonical as the piece is composed."""

    onset: Floats
    "Quarters from the start of the piece; not rounded to a grid."
    length: Floats
    "Quarters."
    pitch: Ints


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BarPlan:
    """N bars, their times, and what is asked of each."""

    bars: Bars
    "Bar lines (N + 1, quarters) and meters; the music may end before or after the last bar line."
    tempo: TempoMap
    "Quarters per minute, one entry per felt beat."
    seconds: Floats
    "Start of each bar, and last (N + 1) the end of the music."
    bpm: Floats
    "Mean felt BPM of each bar."
    end_quarters: float
    "Where the music ends exactly."
    remaining: Ints
    "Bars that remain, this one included: N to 1."
    transposition: int
    "Semitones from C major or A minor to the asked key, -6 to 5; 0 where the key is open."
    mode: str | None
    families: tuple[str, ...]
    "Timbre families that may sound, the leading one first."
    playing: NDArray[np.bool_]
    "(N, families): which of `families` play in each bar."
    programs: Mapping[str, int]
    "Family -> the General MIDI program it sounds with."
    targets: Mapping[str, Floats]
    """Asked value of each bar, NaN where open, under the names in `TARGETS`: tempo in felt BPM,
    density in onsets per felt beat, register in MIDI pitch before transposition, energy at 0 dB as
    attributes are measured (dynamics come on top, from `loudness_db`), the rest as prescribed."""
    loudness_db: Floats
    "Loudness of each bar, dB re medium, that completes the asked energy; 0 where energy is open."
    derived: frozenset[str]
    "Targets, and mode, meter and instruments, that were filled in here rather than asked."
    breath: Breath | None = None
    "The swell of the loudness that is asked for."
    anchors: tuple[Anchored, ...] = ()
    "Places of the anchor, in order; the leading family plays it."
    climax: Appoggiatura | None = None
    "What happens at the peak of an arc; the leading family plays it."
    sections: tuple[Section, ...] = ()
    "The form, in order; none in a part of a longer plan."
    returns: tuple[Return, ...] = ()
    "Melodies of the leading family that come back."
    before_s: float = 0.0
    "Seconds of the piece before its first bar; only a part of a longer plan has any."

    def __len__(self) -> int:
        return len(self.bars)

    @property
    def forced(self) -> tuple[Anchored | Appoggiatura, ...]:
        """What the leading family has to play: anchors, and the peak of an arc."""
        return self.anchors if self.climax is None else (*self.anchors, self.climax)

    @property
    def form(self) -> tuple[tuple[str, float], ...]:
        """Name and start (s) of each section."""
        return tuple((s.label, round(float(self.seconds[s.first]), 3)) for s in self.sections)

    @property
    def closes(self) -> bool:
        """Whether the piece ends with its last bar; a part of a longer plan may go on."""
        return bool(self.remaining[-1] == 1)

    def part(self, first: int, stop: int) -> BarPlan:
        """Bars `first` to `stop` (not included) as a plan of their own, from 0 quarters and 0 s."""
        edges, whole = self.bars.edges, stop >= len(self)
        start, span, bounds = edges[first], slice(first, stop), slice(first, stop + 1)
        begun = int(np.searchsorted(self.tempo.start, start, side="right")) - 1
        ends = self.end_quarters if whole else edges[stop]
        over = int(np.searchsorted(self.tempo.start, ends))
        return replace(
            self,
            bars=Bars(edges[bounds] - start, self.bars.meters[span]),
            tempo=TempoMap(
                np.maximum(self.tempo.start[begun:over] - start, 0.0), self.tempo.bpm[begun:over]
            ),
            seconds=self.seconds[bounds] - self.seconds[first],
            bpm=self.bpm[span],
            end_quarters=float(ends - start),
            remaining=self.remaining[span],
            playing=self.playing[span],
            targets={name: values[span] for name, values in self.targets.items()},
            loudness_db=self.loudness_db[span],
            anchors=(),
            climax=None,
            sections=(),
            returns=(),
            before_s=self.before_s + float(self.seconds[first]),
        )


def plan(prescription: Prescription) -> BarPlan:
    """Lay a prescription over bars."""
    breath, peak, prescription = prescription.breath, prescription.peak_bar, prescription.laid()
    bars, tempo, seconds, end = _grid(prescription)
    lengths = np.diff(np.append(bars.edges[:-1], end)) / bars.meters[0].felt_beat
    bpm = 60.0 * lengths / np.diff(seconds)
    transposition, mode = _transposition(prescription)
    asked = _asked(prescription, seconds / prescription.music_s)
    derived = _open_defaults(prescription, mode)
    loudness = np.zeros(len(bars))
    if prescription.energy is not None:
        derived |= {name for name in ("density", "articulation") if np.isnan(asked[name]).all()}
        loudness = _derive(asked)
    targets = asked | {
        "tempo": bpm,
        "density": asked["density"] * 60.0 / bpm,
        "register": asked["register"] - transposition,
    }
    chosen = [PALETTE[name] for name in prescription.instruments or OPEN_INSTRUMENTS]
    anchors = _anchors(prescription, bars, seconds, (transposition, mode), targets, chosen)
    phrase = phrase_of(prescription, breath)
    taken = _anchor_bars(anchors, bars)
    climax = None
    if peak is not None and not taken[1:-1].all():
        climax = _climax(prescription, bars, peak, taken, (transposition, mode), targets, chosen[0])
        taken[climax.bar] = True
    form = sections.lay(len(bars), seconds[-1], phrase, prescription.seed)
    playing = arrangement(len(bars), len(chosen), phrase, at_once(targets))
    returns = _lead(playing, form, phrase, taken)
    if climax is not None:
        held = int(np.ceil(max(4.0 / bars.meters[0].quarters, 1.0)))  # bars, by performance
        playing[climax.bar] |= playing[max(climax.bar - held, 0) : climax.bar].any(axis=0)
    return BarPlan(
        bars=bars,
        tempo=tempo,
        seconds=seconds,
        bpm=bpm,
        end_quarters=end,
        remaining=np.arange(len(bars), 0, -1),
        transposition=transposition,
        mode=mode,
        families=tuple(family for _, family in chosen),
        playing=playing,
        programs={family: program for program, family in chosen},
        targets={name: targets[name] for name in TARGETS},
        loudness_db=loudness,
        derived=frozenset(derived),
        breath=breath,
        anchors=anchors,
        climax=climax,
        sections=form,
        returns=returns,
    )


def _anchors(
    prescription: Prescription,
    bars: Bars,
    seconds: Floats,
    key: tuple[int, str | None],
    targets: Mapping[str, Floats],
    chosen: Sequence[tuple[int, str]],
) -> tuple[Anchored, ...]:
    """The motif at its bars, in the octave that suits the asked register and the instrument."""
    motif, at = prescription.anchor, prescription.anchor_shares
    if motif is None:
        return ()
    meter, (transposition, mode) = str(bars.meters[0]), key
    onset, length = motif.times(meter)
    pitch = motif.semitones(mode or motif.mode) + _HOME[mode or motif.mode]
    each, (_, family) = motif.bars_in(meter), chosen[0]
    found = []
    for first in anchor.first_bars(at, seconds, each):
        asked = targets["register"][first : first + each].mean()
        wanted = OPEN_REGISTER - transposition if np.isnan(asked) else asked
        octave = _octave(pitch, wanted + LIFT, np.array(RANGES[family]) - transposition)
        found.append(Anchored(bars.edges[first] + onset, length, pitch + 12 * octave))
    return tuple(found)


def _lead(
    playing: NDArray[np.bool_], form: tuple[Section, ...], phrase: int, taken: NDArray[np.bool_]
) -> tuple[Return, ...]:
    """Have the leading family play in the bars that are taken and what sections take up; all that
    comes back."""
    returns = sections.of_sections(form, phrase, taken)
    playing[taken | sections.melodies(returns, len(playing)), 0] = True
    return returns + sections.of_phrases(form, phrase, taken | ~playing[:, 0], returns)


def _anchor_bars(anchors: Sequence[Anchored], bars: Bars) -> NDArray[np.bool_]:
    """(bars,): from the first note of an anchor to its last."""
    found = np.zeros(len(bars), dtype=bool)
    for place in anchors:
        first, last = bars.index(place.onset[[0, -1]])
        found[first : last + 1] = True
    return found


def _climax(
    prescription: Prescription,
    bars: Bars,
    peak: int,
    taken: NDArray[np.bool_],
    key: tuple[int, str | None],
    targets: Mapping[str, Floats],
    lead: tuple[int, str],
) -> Appoggiatura:
    """In the free bar nearest to the peak, above the asked register; not the first nor the last."""
    free = 1 + np.flatnonzero(~taken[1:-1])
    bar = int(free[np.abs(free - peak).argmin()])
    transposition, mode = key
    wanted, legal = targets["register"][bar] + CLIMAX, np.array(RANGES[lead[1]]) - transposition
    return appoggiatura.placed(bar, bars, mode, wanted, legal, prescription.seed)


def _octave(pitch: Ints, wanted: float, legal: Ints) -> int:
    """Octaves to move by: within what is legal, the nearest to the wanted middle pitch."""
    octaves = np.arange(11)
    low, high = (edge + 12 * octaves for edge in (pitch.min(), pitch.max()))
    outside = np.maximum(legal[0] - low, 0) + np.maximum(high - legal[1], 0)
    return int(np.argmin(1000 * outside + np.abs((low + high) / 2 - wanted)))


def phrase_of(prescription: Prescription, breath: Breath | None) -> int:
    """Bars of a phrase: `PHRASE`, or as many whole breaths as come nearest to it."""
    if breath is None:
        return PHRASE
    bpm = float(prescription.tempo_curve.integral(1.0))
    bars = max(1, round(float(bars_per_breath(bpm, breath.mean, prescription.felt_beats_per_bar))))
    return bars * max(1, round(PHRASE / bars))


def arrangement(
    bars: int, families: int, length: int = PHRASE, at_once: Floats | None = None
) -> NDArray[np.bool_]:
    """(bars, families): who plays when, by phrases of `length` bars.

    The first leads throughout. The others enter one by one, all by the middle of the piece; from
    there on one of three or more rests in every second phrase, in turn, but not in the last. Where
    no more than `at_once` (bars,) may play together, they take turns.
    """
    bar, family = np.arange(bars)[:, None], np.arange(families)
    entry = np.minimum(length * family, bars * family // (2 * families))
    phrase = bar // length
    settled = phrase - (entry[-1] // length + 1)
    resting = settled // 2 % max(1, families - 1) + 1
    pause = (family == resting) & (settled >= 0) & (settled % 2 == 1) & (phrase < phrase[-1])
    playing = (bar >= entry) & ~(pause & (families > 2))
    return playing if at_once is None else _in_turn(playing, length, at_once)


def _in_turn(playing: NDArray[np.bool_], length: int, at_once: Floats) -> NDArray[np.bool_]:
    """Those that have rested longest, of those that are there all the time, play for a turn; the
    first always, where there is room for two."""
    bars, families = playing.shape
    turn = max(1, min(length, bars // families))
    last, found = np.full(families, -1), playing.copy()
    for start in range(0, bars, turn):
        here = slice(start, start + turn)
        room = int(np.clip(at_once[here].min(), 1, families))
        ready = np.flatnonzero(playing[here].all(axis=0))
        rank = np.lexsort((ready, last[ready], (ready > 0) | (room < 2)))
        chosen = ready[rank][:room]
        found[here] &= np.isin(np.arange(families), chosen)
        last[chosen] = start
    found[-turn:] |= last < 0  # a piece too short for every turn: nobody is left out
    return found


def voices(polyphony: Floats, articulation: Floats) -> Floats:
    """Notes that are to sound between onsets for this polyphony, once performance has set lengths.

    Where each of n notes sounds for a share a of the time to the next onset, the polyphony is
    between n a (one note of the onset is held all the time) and n (all are let go together).
    """
    share = np.clip(np.where(np.isnan(articulation), 1.0, articulation), 0.5, 1.0)
    found: Floats = polyphony * (1.0 + 1.0 / share) / 2.0
    return found


def at_once(targets: Mapping[str, Floats]) -> Floats:
    """(bars,): families that may play together, of which each sounds a note at least."""
    wanted = voices(targets["polyphony"], targets["articulation"])
    return np.floor(np.where(np.isnan(wanted), np.inf, wanted + 0.25))


def _grid(prescription: Prescription) -> tuple[Bars, TempoMap, Floats, float]:
    """Bars, tempo map, start second of each bar and of the end, and the end in quarters."""
    numerator, denominator = (int(n) for n in (prescription.meter or OPEN_METER).split("/"))
    meter = Meter(0.0, numerator, denominator)
    total = prescription.felt_beats
    per_bar, count = prescription.felt_beats_per_bar, prescription.bars
    beats = np.append(np.arange(np.ceil(total - 1e-6)), total)
    times = _beat_seconds(prescription, beats)
    bpm = 60.0 * np.diff(beats) / np.diff(times)
    tempo = TempoMap(beats[:-1] * meter.felt_beat, bpm * meter.felt_beat)
    seconds = np.append(times[: count * per_bar : per_bar], prescription.music_s)
    bars = Bars(meter.quarters * np.arange(count + 1.0), (meter,) * count)
    return bars, tempo, seconds, total * meter.felt_beat


def _beat_seconds(prescription: Prescription, beats: Floats) -> Floats:
    """When each felt beat sounds; the last one given is the end of the music."""
    areas = beats * 60.0 / prescription.music_s
    times = prescription.tempo_curve.invert_integral(areas) * prescription.music_s
    times[-1] = prescription.music_s
    return times


def _transposition(prescription: Prescription) -> tuple[int, str | None]:
    """Semitones from C major or A minor, nearest; a key without a mode is taken as major."""
    if prescription.key is None:
        return 0, prescription.mode
    mode = prescription.mode or "major"
    return (TONICS.index(prescription.key) - _HOME[mode] + 6) % 12 - 6, mode


def _asked(prescription: Prescription, edges: Floats) -> dict[str, Floats]:
    """Mean of each curve over each bar, in the prescription's units; NaN where open."""
    asked: dict[str, Floats] = {}
    for name in TARGETS:
        curve: Curve | None = getattr(prescription, name)
        asked[name] = np.full(len(edges) - 1, np.nan) if curve is None else curve.means(edges)
    return asked


def _open_defaults(prescription: Prescription, mode: str | None) -> set[str]:
    """Open controls that the plan fills in whatever the energy."""
    names = ("tempo", "meter", "instruments") + (("mode",) if mode else ())
    return {name for name in names if getattr(prescription, name) is None}


def _derive(asked: dict[str, Floats]) -> Floats:
    """Fill open density and articulation in from the energy; return the loudness it leaves (dB).

    Articulation stays within its legal range, and the loudness makes up for it. The energy itself
    becomes what these notes have at 0 dB.
    """
    given = {name: None if np.isnan(asked[name]).all() else asked[name] for name in TARGETS}
    register = given["register"]
    density, _, articulation = emotion.solve_energy(
        asked["energy"], given["density"], given["articulation"], register
    )
    legal = CONTROLS["articulation"]
    articulation = np.clip(articulation, legal.low, legal.high)
    _, loudness, _ = emotion.solve_energy(asked["energy"], density, articulation, register)
    pitch = emotion.CENTRE_REGISTER if register is None else register
    asked["density"], asked["articulation"] = density, articulation
    asked["energy"] = emotion.energy(density, 0.0, articulation, pitch)
    return loudness
