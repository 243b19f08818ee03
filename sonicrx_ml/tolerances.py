"""How far a track may be from its prescription: one row per attribute and place of measurement.

A row of `TOLERANCES` says what is asked, what is measured, how the two are compared, how far they
may differ, and why. Tolerances marked [E] are engineering choices; they were set from what a
listener could notice, before any track was judged. Where a row has a `phrase`, means over so many
bars are compared, since one bar's density or register is the composer's business and the model of
perceived emotion behind these attributes was fitted to excerpts of several bars.

On average a flat track is within the tolerance of a line that rises by up to four of them. So where
a curve is asked to move clearly, by `CLEAR_MOVE` tolerances or more from its lowest to its highest
bar, the track must move too: by `LEAST_MOVED` of what is asked, which is the slope of the
regression of realised on asked values and so holds for any shape of curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pretty_midi

from sonicrx_ml.case import PHRASE, Case
from sonicrx_ml.entrainment import GLIDE_LIMIT, STEP_LIMIT
from sonicrx_ml.notes import DRUMS, Floats
from sonicrx_ml.palette import PALETTE
from sonicrx_ml.prescription import MODES, OPEN_METER, TONICS
from sonicrx_ml.verdicts import RING_S, Rule, Section, Where

Value: TypeAlias = float | str | tuple[str, ...] | Floats | None

CLEAR_MOVE = 2.0  # tolerances: a flat track is then off by one at both ends
LEAST_MOVED = 0.5  # of the asked movement: nearer to it than to a flat track [E]
TRUE_PEAK_CEILING = -1.0  # dBTP, EBU R 128
PEAK_BARS = 2.0  # [E]
LONGEST_SILENCE = 2.0  # bars [E]
SOUND_TEMPO = 4.0  # % [E]

_NAME_OF_PROGRAM = {program: name for name, (program, _) in PALETTE.items()}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """A row of the table: what is asked, what is measured, and how far they may differ."""

    attribute: str
    where: Where
    unit: str
    rule: Rule
    tolerance: float | None
    """Largest error that passes; None: reported without a verdict."""
    control: str | None
    """The control that asks for it; None: a limit, or a figure, for every track."""
    asked: Callable[[Case], Value]
    realised: Callable[[Case], Value]
    source: str
    """Where definition and tolerance come from; [E] marks an engineering choice."""
    phrase: int = 1
    """Curves: bars over which they are averaged before they are compared."""
    section: Section = "asked"
    levelled: bool = False
    """Whether the figure hangs on the playback level."""
    on_request: bool = False
    """Whether it takes so long that it is measured only when psychoacoustics are asked for."""
    second: bool = False
    """A second opinion: it has a verdict only where there are no notes to give the first."""
    extent: Callable[[Case], str] = lambda case: "whole"
    flag: Callable[[Case], str | None] = lambda case: None
    """A warning about what was measured."""
    share: Callable[[Case], float] | None = None
    """How much of the piece is as asked, of what the whole is asked for."""

    @property
    def is_limit(self) -> bool:
        """Whether it holds for every track, asked or not."""
        return self.control is None and self.tolerance is not None


def _curve(
    name: str, unit: str, rule: Rule, tolerance: float, source: str, phrase: int = PHRASE
) -> Tolerance:
    """A row of a per-bar attribute on notes that has a control of its own."""
    return Tolerance(
        name, "notes", unit, rule, tolerance, name,
        lambda case: case.target(name), lambda case: case.measured[name], source, phrase,
    )  # fmt: skip


def _asked_key(case: Case) -> str | None:
    return case.prescription.key and f"{case.prescription.key} {case.plan.mode}"


def _share_in_tonic(case: Case) -> float:
    return float(case.key_shares[:, TONICS.index(str(case.prescription.key))].sum())


def _share_in_mode(case: Case) -> float:
    return float(case.key_shares[MODES.index(str(case.plan.mode))].sum())


def _heard_key(case: Case) -> str:
    return f"{TONICS[case.second_key.tonic]} {case.second_key.mode}"


def _heard_key_or_relative(case: Case) -> str:
    """The asked key where the one heard is it or its relative, which shares its scale."""
    home = TONICS[-case.second_key.to_canonical % 12]
    same_scale = {f"{home} major", f"{TONICS[(TONICS.index(home) + 9) % 12]} minor"}
    asked = _asked_key(case)
    return asked if asked in same_scale else _heard_key(case)


def _meters(case: Case) -> str:
    return ", ".join(dict.fromkeys(map(str, case.notes.meters)))


def _programs(case: Case) -> tuple[str, ...]:
    return tuple(map(instrument_name, case.plan.programs.values()))


def _instruments(case: Case) -> tuple[str, ...]:
    return tuple(instrument_name(int(p)) for p in np.unique(case.notes.program))


def instrument_name(program: int) -> str:
    """Palette name of a General MIDI program, else the name that General MIDI gives it."""
    if program == DRUMS:
        return "percussion"
    name = _NAME_OF_PROGRAM.get(program)
    return name or pretty_midi.program_to_instrument_name(program).lower()


def _tempo_disagreement(case: Case) -> str | None:
    """Notes and sound apart by more than the sound's own tolerance, in the median bar."""
    if len(case.notes) == 0:
        return None
    ratio = case.sound_tempo / case.measured["tempo"]
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) == 0:
        return "no tempo heard"
    if abs(np.median(ratio) - 1.0) <= SOUND_TEMPO / 100.0:
        return None
    return f"the notes say {np.nanmean(case.measured['tempo']):.1f} BPM"


def _key_disagreement(case: Case) -> str | None:
    wrong = len(case.notes) and case.heard.key.tonic != case.key.tonic
    return f"the notes say {TONICS[case.key.tonic]}" if wrong else None


def _sound_tonic(case: Case) -> str | None:
    return TONICS[case.heard.key.tonic] if case.heard.key.confidence else None


def _sound_mode(case: Case) -> str | None:
    """None, as of the tonic, where no pitch sounds."""
    return case.heard.key.mode if case.heard.key.confidence else None


def _finders_disagree(case: Case) -> str | None:
    first = f"{TONICS[case.key.tonic]} {case.key.mode}"
    return None if first == _heard_key(case) else f"the rows on key and mode say {first}"


def _mode_disagreement(case: Case) -> str | None:
    wrong = len(case.notes) and case.heard.key.mode != case.key.mode
    return f"the notes say {case.key.mode}" if wrong else None


def _breath(name: str) -> Callable[[Case], float | None]:
    """A figure of the breath that is asked for."""
    return lambda case: None if case.plan.breath is None else getattr(case.plan.breath, name)


def _swell(name: str) -> Callable[[Case], float | None]:
    """A figure of the swell that is heard."""
    return lambda case: None if case.swell is None else getattr(case.swell, name)


def _breaths_heard(case: Case) -> float | None:
    """Mean rate, breaths per minute."""
    breath, swell = case.plan.breath, case.swell
    return None if breath is None or swell is None else breath.mean * swell.ratio


def _number(value: int | None) -> float | None:
    return None if value is None else float(value)


def _whole_bars(case: Case) -> float | None:
    bars = case.bars_per_breath
    return bars and max(1.0, float(round(bars)))


# fmt: off
TOLERANCES: tuple[Tolerance, ...] = (
    Tolerance("duration", "notes", "s", "within", 0.5, "duration_s",
              lambda case: case.prescription.music_s, lambda case: case.notes.end_seconds,
              "last release against duration less final silence; [E] under a beat at calm tempi"),
    _curve("tempo", "BPM", "within %", 2.0,
           "just noticeable is 1.5 to 3 % (Drake & Botte 1993)", phrase=1),
    Tolerance("tempo step", "notes", "%", "at most", 0.05, "strategy",
              lambda case: STEP_LIMIT, lambda case: case.tempo_change.step,
              "largest change between tempi held for 8 beats; just noticeable is 1.5 to 3 % "
              "(Drake & Botte 1993); sections may join by 3 %"),
    Tolerance("tempo drift", "notes", "% a beat", "at most", 0.005, "strategy",
              lambda case: GLIDE_LIMIT, lambda case: case.tempo_change.drift,
              "largest other change from a felt beat to the next; noticed from .2 to .3 % "
              "(Madison & Merker); a glide of .15 % goes unnoticed"),
    Tolerance("tempo change", "notes", "", "same", None, None,
              lambda case: None, lambda case: case.tempo_change.place,
              "steps and drifts of the file's tempo map against what listeners notice: steady, "
              "unnoticed (to 1.5 %, .2 % a beat), just noticeable (to 3 %, .3 % a beat), noticed"),
    Tolerance("bars a breath", "notes", "bars", "within", None, "breaths_per_min",
              _whole_bars, lambda case: case.bars_per_breath,
              "mean tempo of the file over the breaths asked; whole where the tempo could be moved "
              "to fit"),
    Tolerance("key", "notes", "", "same", 0.0, "key",
              lambda case: case.prescription.key, lambda case: TONICS[case.key.tonic],
              "tonic; profiles of Albrecht & Shanahan 2013", share=_share_in_tonic),
    Tolerance("mode", "notes", "", "same", 0.0, "mode",
              lambda case: case.plan.mode, lambda case: case.key.mode,
              "profiles of Albrecht & Shanahan 2013", share=_share_in_mode),
    Tolerance("key and mode", "notes", "", "same", None, "key", _asked_key, _heard_key,
              "both at once, CK of Text2midi, by a finder that labels do not use (Temperley 2007); "
              "judged one by one above", flag=_finders_disagree),
    Tolerance("key or relative", "notes", "", "same", None, "key",
              _asked_key, _heard_key_or_relative,
              "CKD of Text2midi: the relative key, which shares the scale, counts as the asked; "
              "Temperley 2007"),
    Tolerance("meter", "notes", "", "same", 0.0, "meter",
              lambda case: case.prescription.meter or OPEN_METER, _meters,
              "time signatures of the file"),
    _curve("energy", "0-1", "within", 0.1,
           "arousal by Eerola et al. 2013, dynamics included; [E] .1 is .2 of 7 points a rating"),
    _curve("density", "onsets/s", "within %", 25.0,
           "[E] moves no predicted rating by over a quarter of 7 points (Eerola et al. 2013)"),
    _curve("polyphony", "notes", "within %", 25.0, "[E] one voice in four"),
    _curve("register", "MIDI pitch", "within", 4.0,
           "[E] moves no predicted rating by over .2 of 7 points (Eerola et al. 2013)"),
    _curve("articulation", "ratio", "within", 0.15,
           "[E] a third of the way from legato (1) to staccato (half the time to the next note)"),
    _curve("chromaticism", "ratio", "within", 0.05, "[E] one note in twenty"),
    Tolerance("dynamics", "notes", "dB", "within", None, "energy",
              lambda case: case.plan.loudness_db, lambda case: case.measured["dynamics"],
              "40 log10 of velocity over 64 (General MIDI 2); part of the energy, judged there",
              PHRASE),
    Tolerance("instruments", "notes", "", "same set", 0.0, "instruments", _programs, _instruments,
              "error is 1 - F1; [E] exact, since dislikes are part of a prescription"),
    Tolerance("anchor", "notes", "places", "within", 0.0, "anchor",
              lambda case: float(len(case.plan.anchors)) or None, lambda case: case.anchors_found,
              "asked places, to half a felt beat, where one instrument plays the motif above all "
              "else that it plays: the same intervals, inter-onset intervals within a factor of "
              "1.4 of their share of the whole [E]"),
    Tolerance("arc peak", "notes", "bars", "within", PEAK_BARS, "arc",
              lambda case: _number(case.prescription.peak_bar), lambda case: case.peak_heard,
              "bar line around which the energy of 4 bars is highest, of the bar lines from 0; "
              "[E] half a phrase"),
    Tolerance("appoggiatura", "notes", "", "at least", 0.0, "arc",
              lambda case: 1.0 if case.prescription.arc else None,
              lambda case: case.appoggiaturas,
              "notes on the first beat of the peak's bar, or of the nearest that has no anchor, "
              "that are dissonant against the lowest one (seconds, fourths, tritones, sevenths) "
              "and followed in their instrument, before the "
              "bar is over, by a step to a consonance [E]"),
    Tolerance("longest silence", "notes", "bars", "at most", 0.0, None,
              lambda case: LONGEST_SILENCE, lambda case: case.longest_silence,
              "unasked rest before the last release; [E] longer ones sound like the end"),
    Tolerance("duration", "sound", "s", "rings on", 0.5, "duration_s",
              lambda case: case.prescription.duration_s, lambda case: case.heard.seconds,
              "length of the file; [E] under a beat at calm tempi; the end may ring 3 s"),
    Tolerance("tempo", "sound", "BPM", "within %", SOUND_TEMPO, "tempo",
              lambda case: case.target("tempo"), lambda case: case.sound_tempo,
              "the beat heard in windows of 32 s, half and double as good, followed within 8 % "
              "over 16 s; [E] twice the noticeable, since soft onsets blur it",
              flag=_tempo_disagreement),
    Tolerance("key", "sound", "", "same", 0.0, "key",
              lambda case: case.prescription.key, _sound_tonic,
              "tonic, of the spectrum (Gómez 2006; Albrecht & Shanahan 2013); beside the notes a "
              "second opinion without a verdict", second=True, flag=_key_disagreement),
    Tolerance("mode", "sound", "", "same", 0.0, "mode",
              lambda case: case.plan.mode, _sound_mode,
              "as the key on sound", second=True, flag=_mode_disagreement),
    Tolerance("swell rate", "sound", "per minute", "within %", 5.0, "breaths_per_min",
              _breath("mean"), _breaths_heard,
              "of the momentary loudness (EBU Tech 3341) over the asked breaths, searched from .6 "
              "to 1.6 of the asked rate; [E] 5 %"),
    Tolerance("swell depth", "sound", "dB", "within", 1.0, "breaths_per_min",
              _breath("depth_db"), _swell("depth_db"),
              "trough to crest of the mean breath, its first three harmonics; [E] 1 dB is about "
              "what can be noticed"),
    Tolerance("inhale share", "sound", "ratio", "within", 0.1, "breaths_per_min",
              _breath("inhale"), _swell("inhale"),
              "of the breath of half cosines that the mean breath is likest; [E] a tenth"),
    Tolerance("loudness", "sound", "LUFS", "within", 1.0, "target_lufs",
              lambda case: case.prescription.target_lufs, lambda case: case.heard.integrated,
              "integrated, ITU-R BS.1770-5; EBU R 128 allows 1 LU where .5 is not practicable"),
    Tolerance("true peak", "sound", "dBTP", "at most", 0.0, None,
              lambda case: TRUE_PEAK_CEILING, lambda case: case.heard.true_peak,
              "ITU-R BS.1770-5 annex 2; ceiling of EBU R 128"),
    Tolerance("final silence", "sound", "s", "at least", RING_S, "final_silence_s",
              lambda case: case.prescription.final_silence_s, lambda case: case.final_silence,
              "40 LU below the target loudness; [E] the last sound may ring for 3 s"),
)
# fmt: on
