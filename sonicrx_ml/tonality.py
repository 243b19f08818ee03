"""Pitch in sound: spectral peaks, the key they speak for, and how rough they are together.

Conventions are those of `acoustics` (samples, rate, `Curve`) and `keys` (24 keys, profiles).
Nothing here knows of MIDI: a key is heard in the spectrum, so it can disagree with the notes'. On
31 annotated songs of 30 to 150 s, rendered, it was right for 29 (`keys.estimate_key`: 28).

Method: the peaks of each spectrum are folded to pitch classes as in Gómez, "Tonal description of
polyphonic audio for music content processing", INFORMS Journal on Computing 18(3), 2006: a peak
supports the notes that it may be a harmonic of, less and less so. The chroma then takes the place
of the note histogram in the key finder of `keys`. Roughness of peaks: `consonance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import sliding_window_view
from scipy import signal

from sonicrx_ml import consonance, keys
from sonicrx_ml.acoustics import Curve, Floats, Samples, checked, require
from sonicrx_ml.keys import Key

FRAME_S = 0.4  # resolves partials 10 Hz apart
HOP_S = 0.2
PEAK_BAND = (60.0, 5000.0)  # Hz
PEAKS = 30  # of each frame, the strongest
PEAK_RANGE = 50.0  # dB below the strongest of the frame
SILENCE = 1e-4  # -80 dBFS: a frame without a louder partial is silent
FRAMES_AT_ONCE = 64  # of a spectrogram

CHROMA_BAND = (60.0, 2000.0)  # Hz
FOLDED = 5  # harmonics that a peak may be
FOLDED_DECAY = 0.6  # of each further harmonic's support
COMPRESSION = 0.5  # exponent of the amplitude: accompaniment counts beside melody

BLOCK_S = 2.4  # of sound that stands for a bar of notes
"""A window of eight such blocks is heard for a local key; two open and two close the piece."""


@dataclass(frozen=True, slots=True, eq=False)
class Partials:
    """The strongest spectral peaks of each frame; amplitude 0 where a frame has fewer."""

    times: Floats
    """(f,) seconds, the centres of the frames."""
    hertz: Floats
    """(f, PEAKS)."""
    amplitudes: Floats
    """(f, PEAKS): of a steady sine, its amplitude."""


def spectral_peaks(samples: Samples, rate: int) -> Partials:
    """Peaks between 60 Hz and 5 kHz, in frames of 400 ms, every 200 ms."""
    rows = checked(samples, rate)
    require(rows, rate, FRAME_S)
    frame, hop = round(FRAME_S * rate), round(HOP_S * rate)
    bins = int(PEAK_BAND[1] * FRAME_S) + 2
    window = signal.get_window("hann", frame).astype(np.float32)
    window *= 2.0 / window.sum()
    frames = sliding_window_view(rows.mean(axis=0, dtype=np.float32), frame)[::hop]
    found = [
        _peaks(np.abs(scipy.fft.rfft(part * window)[:, :bins]).astype(np.float64), rate / frame)
        for part in np.array_split(frames, -(-len(frames) // FRAMES_AT_ONCE))
    ]
    hertz, amplitudes = (np.concatenate(column) for column in zip(*found, strict=True))
    return Partials((np.arange(len(hertz)) * hop + frame / 2) / rate, hertz, amplitudes)


def _peaks(magnitude: Floats, spacing: float) -> tuple[Floats, Floats]:
    """Hz and amplitude (f, PEAKS) of the strongest local maxima of magnitudes (f, bins)."""
    inner = magnitude[:, 1:-1]
    least = np.maximum(inner.max(axis=1, keepdims=True) * 10 ** (-PEAK_RANGE / 20), SILENCE)
    summit = (inner > magnitude[:, :-2]) & (inner >= magnitude[:, 2:]) & (inner > least)
    summit[:, : int(PEAK_BAND[0] / spacing)] = False
    height = np.where(summit, inner, 0.0)
    if height.shape[1] < PEAKS:
        height = np.pad(height, ((0, 0), (0, PEAKS - height.shape[1])))
    column = np.sort(np.argpartition(height, -PEAKS, axis=1)[:, -PEAKS:], axis=1)
    amplitude = np.take_along_axis(height, column, axis=1)
    logs = np.log(np.maximum(magnitude, 1e-12))
    left, top, right = (np.take_along_axis(logs, column + step, axis=1) for step in range(3))
    bend = left - 2 * top + right
    shift = np.divide(0.5 * (left - right), bend, out=np.zeros_like(bend), where=amplitude > 0)
    amplitude = np.where(amplitude > 0, np.exp(top - 0.25 * (left - right) * shift), 0.0)
    return (column + 1 + shift) * spacing, amplitude


# ---------------------------------------------------------------- key


def chroma(peaks: Partials) -> Floats:
    """(f, 12): what of each pitch class sounds in each frame; C = 0, in the tuning of the sound."""
    low, high = CHROMA_BAND
    inside = (peaks.hertz >= low) & (peaks.hertz <= high)
    weight = np.where(inside, peaks.amplitudes, 0.0) ** COMPRESSION
    pitch = 69 + 12 * np.log2(np.maximum(peaks.hertz, 1.0) / 440.0)
    cycle = np.sum(weight * np.exp(2j * np.pi * pitch))
    pitch -= np.angle(cycle) / (2 * np.pi) if abs(cycle) > 0 else 0.0
    number = np.arange(1, FOLDED + 1)
    note = pitch[..., None] - 12 * np.log2(number)
    place = np.rint(note).astype(np.int64)
    near = np.cos(np.pi * (note - place)) ** 2
    support = weight[..., None] * FOLDED_DECAY ** (number - 1) * near
    frame = np.arange(len(pitch))[:, None, None] * 12
    size = 12 * len(pitch)
    folded = np.bincount((frame + place % 12).ravel(), support.ravel(), minlength=size)
    return folded.astype(np.float64).reshape(-1, 12)


def estimate_key(samples: Samples, rate: int) -> Key:
    """Key of a sound; C major with confidence 0 when nothing sounds (as `keys.estimate_key`)."""
    return key_of(spectral_peaks(samples, rate))


def key_of(peaks: Partials) -> Key:
    """Key of a sound whose peaks are at hand."""
    frames = chroma(peaks)
    if not frames.any():
        return Key(0, "major", 0.0)
    block = np.arange(0, len(frames), round(BLOCK_S / HOP_S))
    blocks = np.add.reduceat(frames, block, axis=0)
    windows = keys.moving_sum(blocks, keys.WINDOW)
    local = keys.softmax(keys.SHARPNESS * keys.correlate(windows[windows.any(axis=1)]))
    ends = np.stack([blocks[: keys.FRAME].sum(axis=0), blocks[-keys.FRAME :].sum(axis=0)])
    evidence = keys.Evidence(
        whole=keys.correlate(blocks.sum(axis=0)),
        frame=keys.correlate(ends).sum(axis=0),
        share=np.log(local.mean(axis=0) + keys.LEAST_SHARE),
        minor=np.repeat([0.0, 1.0], 12),
    )
    posterior = keys.softmax(np.tensordot(keys.WEIGHTS, evidence, axes=1))
    best = int(posterior.argmax())
    return Key(best % 12, "major" if best < 12 else "minor", float(posterior[best]))


# ---------------------------------------------------------------- roughness


def spectral_roughness(peaks: Partials) -> Curve:
    """Hutchinson & Knopoff roughness of the peaks of each frame, whatever its level; 0 if silent.

    Partials closer than 10 Hz are one peak here, so beats slower than that are not heard.
    """
    values = consonance.hutchinson_knopoff(peaks.hertz, peaks.amplitudes)
    return Curve(peaks.times, values, "")


def spectral_dissonance(peaks: Partials) -> Curve:
    """Sethares dissonance of the peaks of each frame, the strongest of each set to amplitude 1."""
    strongest = peaks.amplitudes.max(axis=1, keepdims=True)
    relative = peaks.amplitudes / np.where(strongest > 0, strongest, 1.0)
    return Curve(peaks.times, consonance.sethares(peaks.hertz, relative), "")
