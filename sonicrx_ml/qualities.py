"""What every track is also told about itself: whether it is safe, and what it sounds like.

Rows are those of `tolerances`, for no control: a row with a tolerance is a limit, which holds for
every track and does not count in the score; one without is only reported. Rows `on_request` take
seconds and are measured when `judge` is asked for psychoacoustics. Figures in sone, acum, asper,
vacil and dBA hang on the playback level, which is reported beside them.

Predicted emotion is the model of Eerola, Friberg & Bresin 2013 over the bars of the piece: what
listeners would say that the music expresses, not what it does to them. Where pace, loudness or
register leave what the model was fitted to, the row says in how many bars.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sonicrx_ml import emotion, hearing, roughness
from sonicrx_ml.case import Case
from sonicrx_ml.heard import Heard
from sonicrx_ml.notes import Floats
from sonicrx_ml.tolerances import Tolerance, Value
from sonicrx_ml.verdicts import Rule, Section, Where

ATTACK_LEAST = 25.0  # ms [E]
SHARPNESS_CAP = 2.0  # acum [E]: pink noise has 2.0
RANGE_LEAST_S = 60.0  # EBU Tech 3342
LEAST_BREATH = 0.1  # of the variance of the loudness, below which nothing breathes [E]


def _limit(
    name: str, unit: str, rule: Rule, bound: float | Callable[[Case], float],
    realised: Callable[[Heard], float], source: str, *,
    levelled: bool = False, on_request: bool = False,
    extent: Callable[[Case], str] | None = None,
) -> Tolerance:  # fmt: skip
    """A limit on the sound that keeps its listener safe."""
    return Tolerance(
        name, "sound", unit, rule, 0.0, None, bound if callable(bound) else lambda case: bound,
        lambda case: realised(case.heard), source, section="safety", levelled=levelled,
        on_request=on_request, extent=extent or _whole,
    )  # fmt: skip


def _figure(
    name: str, unit: str, realised: Callable[[Case], Value], source: str,
    *, where: Where = "sound", section: Section = "sound", levelled: bool = False,
    on_request: bool = False, extent: Callable[[Case], str] | None = None,
    flag: Callable[[Case], str | None] = lambda case: None, asked: Value = None,
) -> Tolerance:  # fmt: skip
    """A figure that is reported without a verdict."""
    return Tolerance(
        name, where, unit, "at least", None, None, lambda case: asked, realised, source,
        section=section, levelled=levelled, on_request=on_request, extent=extent or _whole,
        flag=flag,
    )  # fmt: skip


def _whole(case: Case) -> str:
    return "whole"


def _sharpness_cap(case: Case) -> float:
    own = case.prescription.max_sharpness_acum
    return SHARPNESS_CAP if own is None else own


def _loudness_extent(case: Case) -> str:
    return case.heard.loudness_extent


def _sensation_extent(case: Case) -> str:
    return case.heard.sensation_extent


def _felt(name: str) -> Tolerance:
    """A predicted rating, bar by bar."""
    return Tolerance(
        name, "notes", "1-7", "within", None, None,
        lambda case: np.full(len(case.plan), np.nan), lambda case: _rating(case, name),
        "predicted rating of perceived emotion, Eerola, Friberg & Bresin 2013, refitted; four bars",
        section="sound", flag=_beyond_range,
    )  # fmt: skip


def _rating(case: Case, name: str) -> Floats:
    values: Floats = getattr(case.emotion, name)
    return values


def _beyond_range(case: Case) -> str | None:
    """In how many bars of music the model is asked about what it was not fitted to."""
    told = np.isfinite(case.emotion.happy)
    beyond = int((told & ~case.emotion.valid).sum())
    if beyond == 0:
        return None
    pace, level, register = emotion.ONSETS_RANGE, emotion.LOUDNESS_RANGE, emotion.REGISTER_RANGE
    return (
        f"{beyond} of {int(told.sum())} bars are beyond what the model was fitted to "
        f"({pace[0]:g} to {pace[1]:g} onsets/s, ± {level[1]:g} dB, "
        f"MIDI pitch {register[0]:g} to {register[1]:g})"
    )


def _short_for_range(case: Case) -> str | None:
    short = case.heard.seconds < RANGE_LEAST_S
    return f"under {RANGE_LEAST_S:g} s: not meant for so short a track" if short else None


def _no_breath(case: Case) -> str | None:
    share = case.heard.breathing.share
    if share >= LEAST_BREATH:
        return None
    return f"not clear: {share:.0%} of the slow changes of loudness"


# fmt: off
QUALITIES: tuple[Tolerance, ...] = (
    # ------------------------------------------------------------ safety
    _limit("startle", "LU", "at most", hearing.RISE_LIMIT, lambda heard: heard.startle,
           "rise of the momentary loudness (EBU Tech 3341) in 400 ms above the loudest of the 3 s "
           "before; limit [E]"),
    _figure("fastest attacks", "ms", lambda case: float(np.percentile(case.heard.attacks, 5)),
            "time from a tenth to nine tenths of the rise (Peeters 2004), exceeded by 95 % of the "
            "notes; 25 ms would startle nobody [E], but struck and plucked notes are faster",
            section="safety", asked=ATTACK_LEAST),
    _limit("sharpness", "acum", "at most", _sharpness_cap, lambda heard: heard.loudness.sharpness,
           "mean over time, DIN 45692; limit as prescribed, else [E] for sensitive hearing: pink "
           "noise has 2",
           levelled=True, on_request=True, extent=_loudness_extent),
    _limit("hearing dose", "h/week", "at least", hearing.WEEKLY_HOURS,
           lambda heard: hearing.weekly_hours(heard.level_dba),
           "hours a week until the dose for adults is full, ITU-T H.870: 40 at 80 dBA; 168 is all",
           levelled=True),
    _figure("hearing dose, children", "h/week",
            lambda case: hearing.weekly_hours(case.heard.level_dba, hearing.CHILD),
            "as for adults, ITU-T H.870: 40 hours at 75 dBA", section="safety", levelled=True),
    _figure("level at the ear", "dBA", lambda case: case.heard.level_dba,
            "equivalent level of the music, A-weighted (IEC 61672-1), louder channel",
            section="safety", levelled=True),
    # ------------------------------------------------------------ predicted emotion
    *map(_felt, emotion.EMOTIONS),
    # ------------------------------------------------------------ the sound
    _figure("loudness range", "LU", lambda case: case.heard.weighted.range, "EBU Tech 3342",
            flag=_short_for_range),
    _figure("largest momentary loudness", "LUFS", lambda case: case.heard.weighted.max_momentary,
            "400 ms, EBU Tech 3341"),
    _figure("largest short-term loudness", "LUFS",
            lambda case: case.heard.weighted.max_short_term, "3 s, EBU Tech 3341"),
    _figure("brightness", "Hz", lambda case: case.heard.centroid,
            "mean spectral centroid of 50 ms frames; no standard"),
    _figure("attack", "ms", lambda case: float(np.median(case.heard.attacks)),
            "median time from a tenth to nine tenths of the rise (Peeters 2004); no standard"),
    _figure("pulse clarity", "0-1", lambda case: case.heard.pulse_clarity,
            "largest autocorrelation of the onsets at a beat of 40 to 200 BPM "
            "(Lartillot et al. 2008); no standard"),
    _figure("breathing", "per minute", lambda case: 60.0 * case.heard.breathing.rate_hz,
            "rate of the strongest slow swell of the loudness, 3 to 15 a minute; no standard",
            flag=_no_breath),
    _figure("breathing depth", "dB", lambda case: case.heard.breathing.depth_db,
            "of that swell, trough to crest", flag=_no_breath),
    # ------------------------------------------------------------ psychoacoustics
    _figure("N5", "sone", lambda case: case.heard.loudness.exceeded(5),
            "loudness exceeded in 5 % of the time, ISO 532-1 over time, free field",
            levelled=True, on_request=True, extent=_loudness_extent),
    _figure("mean loudness", "sone", lambda case: case.heard.loudness.mean,
            "ISO 532-1 over time", levelled=True, on_request=True, extent=_loudness_extent),
    _figure("loudness level", "phon", lambda case: case.heard.loudness.phon, "of N5, ISO 532-1",
            levelled=True, on_request=True, extent=_loudness_extent),
    _figure("roughness", "asper", lambda case: roughness.summary(case.heard.roughness).mean,
            "mean, Daniel & Weber 1997", levelled=True, on_request=True, extent=_sensation_extent),
    _figure("fluctuation strength", "vacil",
            lambda case: roughness.summary(case.heard.fluctuation).mean,
            "mean, Osses et al. 2016", levelled=True, on_request=True, extent=_sensation_extent),
    _figure("spectral roughness", "", lambda case: case.heard.spectral_roughness,
            "mean over spectra, Hutchinson & Knopoff 1978", on_request=True),
    _figure("spectral dissonance", "", lambda case: case.heard.spectral_dissonance,
            "mean over spectra, Sethares 2005, the strongest partial of each at 1",
            on_request=True),
    _figure("consonance of chords", "", lambda case: case.consonance.composite,
            "Harrison & Pearce 2020 without chord size: 3.1 an octave, 1.9 a major triad",
            where="notes", on_request=True),
    _figure("roughness of chords", "", lambda case: case.consonance.roughness,
            "Hutchinson & Knopoff 1978: .12 a major triad, .5 a semitone",
            where="notes", on_request=True),
    _figure("dissonance of chords", "", lambda case: case.consonance.dissonance,
            "Sethares 2005", where="notes", on_request=True),
    _figure("harmonicity of chords", "bits", lambda case: case.consonance.harmonicity,
            "Kullback-Leibler variant of Harrison & Pearce 2018", where="notes", on_request=True),
    _figure("surprise of chords", "nats", lambda case: case.consonance.corpus_dissonance,
            "at the chord type, counted in popular music (Harrison & Pearce 2020)",
            where="notes", on_request=True),
)
# fmt: on
