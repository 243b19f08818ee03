"""No measurement on sound gives NaN: a number, or a ValueError that says what is legal.

Every public function of the modules below that takes samples and a rate is found by inspection, so
a new one is held to this too.
"""

import dataclasses
import functools
import inspect

import numpy as np
import pytest

from sonicrx_ml import acoustics, hearing, peaks, pulse, tempo, tonality

MODULES = (acoustics, hearing, peaks, pulse, tempo, tonality)
ARGUMENTS = {
    "a_weighted_level": {"full_scale_db_spl": 88.0},
    "tempo_near": {"expected_bpm": 72.0},
    "breathing": {"low_hz": 0.15},
}
MEASURES = {
    name: functools.partial(function, **ARGUMENTS.get(name, {}))
    for module in MODULES
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__
    and not name.startswith("_")
    and list(inspect.signature(function).parameters)[:2] == ["samples", "rate"]
    and name not in ("checked", "mono_of")
}
ON_PEAKS = (
    tonality.chroma,
    tonality.key_of,
    tonality.spectral_roughness,
    tonality.spectral_dissonance,
)


def notes(seconds, rate):
    """Struck tones, one per 5/6 s (72 BPM), with an attack of 20 ms."""
    t = np.arange(round(seconds * rate)) / rate
    since = t % (5 / 6)
    return 0.5 * np.exp(-4 * since) * np.minimum(since / 0.02, 1) * np.sin(2 * np.pi * 440 * t)


SOUNDS = {
    "silence": (np.zeros((2, 136_000)), 8_000),
    "dc": (np.full((2, 136_000), 0.5), 8_000),
    "full scale dc": (np.ones(40_000), 8_000),
    "clipped": (np.sign(notes(17, 8_000)), 8_000),
    "far over full scale": (1e4 * notes(17, 8_000), 8_000),
    "hardly there": (1e-9 * notes(17, 8_000), 8_000),
    "one impulse": (np.eye(1, 136_000, 80_000)[0], 8_000),
    "noise": (np.random.default_rng(0).uniform(-1, 1, (2, 40_000)), 8_000),
    "mono": (notes(17, 8_000).astype(np.float32), 8_000),
    "one row": (notes(17, 8_000)[None], 8_000),
    "silence, then notes": (np.r_[np.zeros(80_000), notes(10, 8_000)], 8_000),
    "44.1 kHz": (notes(5, 44_100), 44_100),
    "192 kHz": (notes(2, 192_000), 192_000),
    "0.1 s": (notes(0.1, 48_000), 48_000),
    "one sample": (np.ones(1), 48_000),
    "nothing": (np.zeros(0), 48_000),
}
REFUSED = {
    "NaN": (np.r_[notes(17, 8_000), np.nan], 8_000, "NaN or infinity"),
    "infinity": (np.r_[notes(17, 8_000), np.inf], 8_000, "NaN or infinity"),
    "integers": (np.zeros(160_000, dtype=np.int16), 8_000, "type int16"),
    "surround": (np.zeros((6, 160_000)), 8_000, r"shape \(6, 160000\)"),
    "no rate": (np.zeros(160_000), 0, "rate 0 Hz"),
}


def figures(result):
    """Every number of a result, flat."""
    if isinstance(result, str):
        return np.empty(0)
    if dataclasses.is_dataclass(result):
        fields = [getattr(result, field.name) for field in dataclasses.fields(result)]
        return np.concatenate([figures(value) for value in fields])
    return np.ravel(np.asarray(result, dtype=np.float64))


def outcome(name, samples, rate):
    """The result and "", or None and why not."""
    try:
        return MEASURES[name](samples, rate), ""
    except ValueError as error:
        return None, str(error)


def test_the_functions_are_found():
    assert len(MEASURES) == 17
    assert {"true_peak", "attack_times", "estimate_key", "tempo_near"} <= set(MEASURES)


@pytest.mark.parametrize("sound", SOUNDS)
@pytest.mark.parametrize("name", MEASURES)
def test_a_number_or_a_clear_error(name, sound):
    result, error = outcome(name, *SOUNDS[sound])
    if result is None:
        assert "legal" in error
        return
    if name == "tempo_near":  # keeps the windows without a tempo, as NaN
        assert len(result.times) == len(result.values)
        return
    assert not np.isnan(figures(result)).any()
    if name == "spectral_peaks":
        for function in ON_PEAKS:
            assert np.isfinite(figures(function(result))).all()


@pytest.mark.parametrize("sound", REFUSED)
@pytest.mark.parametrize("name", MEASURES)
def test_what_is_no_sound_is_refused(name, sound):
    samples, rate, why = REFUSED[sound]
    with pytest.raises(ValueError, match=f"{why}.*; legal are"):
        MEASURES[name](samples, rate)


@pytest.mark.parametrize("rate", [8_000, 192_000])
def test_figures_hardly_depend_on_the_rate(rate):
    sound, other = notes(6, 48_000), notes(6, rate)
    for measure, within in (
        (acoustics.integrated_loudness, 0.1),
        (peaks.true_peak, 0.2),
        (pulse.pulse_clarity, 0.05),
    ):
        assert measure(other, rate) == pytest.approx(measure(sound, 48_000), abs=within)
    assert pulse.attack_times(other, rate).values == pytest.approx(
        pulse.attack_times(sound, 48_000).values, abs=3
    )
