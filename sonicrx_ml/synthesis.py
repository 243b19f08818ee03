"""MIDI messages into sample frames, through one of two SoundFont engines.

* **FluidSynth** (the system library, through pyfluidsynth) is the reference: it follows the
  SoundFont 2.01 modulators and knows pedal and reverb (its chorus is off). It works in blocks of 64
  frames, so its events fall on that grid (1.3 ms).
* **tinysoundfont** needs only pip. It plays with linear velocity and cubic volume, knows neither
  pedal nor reverb, and takes attenuations literally. Here it is brought to FluidSynth's laws: gain
  40·log10 of velocity, CC7 and CC11; sine pan law; pedal written out into note lengths; attenuation
  times .4; a synthetic room. Its events are exact to the sample. It plays General MIDI programs;
  bank selects, modulation and effect sends (CC1, 91, 93) are not heard.

Neither engine normalises: twice the velocity law is twice the sample values.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import mido
import numpy as np
import tinysoundfont._tinysoundfont as tsf
from numpy.typing import NDArray
from scipy import signal

from sonicrx_ml.notes import read_midi

Frames = NDArray[np.float32]  # (2, n)

RATE = 48_000
DRUM_CHANNEL = 9
FLUID_GAIN = 0.2  # FluidSynth's own default
FLUID_BLOCK = 64  # frames
FLUID_SETTINGS: dict[str, int | float] = {  # releases differ in their defaults
    "synth.dynamic-sample-loading": 1,  # only the instruments that play: same sound, sooner
    "synth.chorus.active": 0,  # 2.3's chorus makes a pad that asks for it 15 dB louder than its kin
    "synth.reverb.room-size": 0.2,
    "synth.reverb.damp": 0.0,
    "synth.reverb.width": 0.5,
    "synth.reverb.level": 0.9,
}
TINY_GAIN_DB = -14.0  # FLUID_GAIN in dB: both engines play a full-scale sample alike
TINY_VOICES = 512
ATTENUATION_SCALE = 0.4  # of the E-mu hardware SoundFonts are tuned on; FluidSynth applies it too
GENERATOR_ATTENUATION = 48  # SoundFont 2.01 §8.1.3, initialAttenuation
PITCH_CONTROLS = (6, 38, 100, 101)  # data entry and RPN: the bend range

ROOM_S = 1.8  # reverberation time (-60 dB) below ROOM_CROSSOVER; half of it above
ROOM_CROSSOVER = 3_000.0  # Hz
ROOM_DELAY_S = 0.015
ROOM_LEVEL_DB = -15.0  # energy of the room's response beside the direct sound
ROOM_SEED = 0
ROOM_BLOCK = 2**18  # frames given a room at once


class Event(NamedTuple):
    """A channel message at a frame."""

    frame: int
    message: mido.Message


_ORDER = {"note_off": 0, "program_change": 2, "note_on": 3}  # at one instant; the rest are 1


def read_events(midi: bytes) -> list[Event]:
    """Channel messages in time order; at one instant releases come first and notes last.

    A key pressed twice is released once, by the later release. Raises `MidiError` for a file that
    `sonicrx_ml.notes` refuses.
    """
    tempo = read_midi(midi).tempo
    file = mido.MidiFile(file=io.BytesIO(midi))
    ticks: list[int] = []
    messages: list[mido.Message] = []
    now = 0
    for message in mido.merge_tracks(file.tracks):
        now += message.time
        if hasattr(message, "channel") and not message.is_meta:
            ticks.append(now)
            messages.append(_released(message))
    seconds = tempo.seconds(np.array(ticks) / file.ticks_per_beat)
    frames = np.rint(seconds * RATE).astype(np.int64).tolist()
    events = [Event(frame, message) for frame, message in zip(frames, messages, strict=True)]
    return _pair(sorted(events, key=lambda event: (event.frame, _ORDER.get(event.message.type, 1))))


def _released(message: mido.Message) -> mido.Message:
    """A note-on of velocity 0 is a note-off (MIDI 1.0)."""
    if message.type == "note_on" and message.velocity == 0:
        return mido.Message("note_off", channel=message.channel, note=message.note)
    return message


def _pair(events: list[Event]) -> list[Event]:
    """Drop the releases of keys that another note still holds, and notes of no length."""
    kept: list[Event] = []
    holding: dict[tuple[int, int], int] = defaultdict(int)
    orphan: dict[tuple[int, int], int] = {}  # frame of a release without a note
    for event in events:
        frame, message = event
        place = message.channel, getattr(message, "note", -1)
        if message.type == "note_on":
            if orphan.pop(place, -1) == frame:
                continue
            holding[place] += 1
        elif message.type == "note_off":
            if holding[place] == 0:
                orphan[place] = frame
                continue
            holding[place] -= 1
            if holding[place] > 0:
                continue
        kept.append(event)
    return kept


# ---------------------------------------------------------------- FluidSynth


def fluidsynth() -> ModuleType | None:
    """pyfluidsynth, or None where the system has no FluidSynth library."""
    try:
        import fluidsynth as module
    except ImportError:
        return None
    return module


def fluidsynth_version(module: ModuleType) -> str:
    numbers = [module.c_int() for _ in range(3)]
    module.fluid_version(*numbers)
    return "FluidSynth " + ".".join(str(number.value) for number in numbers)


def render_fluidsynth(events: list[Event], frames: int, font: Path) -> Frames:
    """Play the events through the FluidSynth library; `frames` long."""
    module = fluidsynth()
    assert module is not None
    synth = module.Synth(gain=FLUID_GAIN, samplerate=float(RATE))
    try:
        for name, value in FLUID_SETTINGS.items():
            synth.setting(name, value)
        if synth.sfload(str(font), 1) < 0:
            raise ValueError(f"{font} is not a SoundFont that FluidSynth reads (.sf2, .sf3)")
        return _play_fluidsynth(module, synth, events, frames)
    finally:
        synth.delete()


def _play_fluidsynth(module: ModuleType, synth: Any, events: list[Event], frames: int) -> Frames:
    pointer, number = module.c_void_p, module.c_int
    arguments = [("synth", pointer, 1), ("frames", number, 1)]
    for side in ("left", "right"):
        arguments += [(side, pointer, 1), (f"{side}_at", number, 1), (f"{side}_step", number, 1)]
    write = module.cfunc("fluid_synth_write_float", number, *arguments)
    play: dict[str, Callable[[mido.Message], object]] = {
        "note_on": lambda m: synth.noteon(m.channel, m.note, m.velocity),
        "note_off": lambda m: synth.noteoff(m.channel, m.note),
        "control_change": lambda m: synth.cc(m.channel, m.control, m.value),
        "program_change": lambda m: synth.program_change(m.channel, m.program),
        "pitchwheel": lambda m: synth.pitch_bend(m.channel, m.pitch),
    }
    sound = np.zeros((2, frames), np.float32)
    left, right = (row.ctypes.data for row in sound)
    now = 0
    for frame, message in events:
        start = round(frame / FLUID_BLOCK) * FLUID_BLOCK
        if start > now:
            write(synth.synth, start - now, left, now, 1, right, now, 1)
            now = start
        if message.type in play:
            play[message.type](message)
    write(synth.synth, frames - now, left, now, 1, right, now, 1)
    return sound


# ---------------------------------------------------------------- tinysoundfont


def tinysoundfont_version() -> str:
    return f"tinysoundfont {version('tinysoundfont')}"


def render_tinysoundfont(events: list[Event], frames: int, font: Path) -> Frames:
    """Play the events through tinysoundfont, corrected to FluidSynth's laws; `frames` long."""
    try:
        player = tsf.SoundFont(soften_attenuation(font.read_bytes()))
    except RuntimeError as error:
        raise ValueError(f"{font} is not a SoundFont that tinysoundfont reads (.sf2)") from error
    player.set_output(tsf.OutputMode.StereoInterleaved, RATE, TINY_GAIN_DB)
    player.set_max_voices(TINY_VOICES)
    events = flatten_pedal(events)
    mixer = _Mixer(player, events)
    sound = np.zeros((frames, 2), np.float32)
    now = 0
    for frame, message in [*events, Event(frames, None)]:
        if frame > now:
            player.render(sound[now:frame].data.cast("B"))
            now = frame
        if message is not None:
            mixer.play(message)
    return add_room(sound.T)


class _Mixer:
    """MIDI channels on tinysoundfont's, which have no number limit: one per channel *and velocity*.

    A note is struck with its true velocity, so it finds its velocity layer, and gets the missing
    factor velocity/127 from the volume of its own channel.
    """

    def __init__(self, player: Any, events: list[Event]) -> None:
        self.player = player
        self.lanes: dict[int, dict[int, int]] = defaultdict(dict)
        self.volume: dict[int, int] = defaultdict(lambda: 100)  # General MIDI's initial values
        self.expression: dict[int, int] = defaultdict(lambda: 127)
        self.sounding: dict[tuple[int, int], int] = {}
        for message in (event.message for event in events):
            if message.type == "note_on":
                lane = 128 * message.channel + message.velocity
                self.lanes[message.channel][message.velocity] = lane
        for channel in self.lanes:
            self._program(channel, 0)
            self._level(channel)

    def play(self, message: mido.Message) -> None:
        if message.type == "note_on":
            lane = self.lanes[message.channel][message.velocity]
            self.sounding[message.channel, message.note] = lane
            self.player.channel_note_on(lane, message.note, message.velocity / 127)
        elif message.type == "note_off":
            lane = self.sounding.pop((message.channel, message.note))
            self.player.channel_note_off(lane, message.note)
        elif message.type == "program_change":
            self._program(message.channel, message.program)
        elif message.type == "pitchwheel":
            for lane in self.lanes[message.channel].values():
                self.player.channel_set_pitch_wheel(lane, message.pitch + 8192)
        elif message.type == "control_change":
            self._control(message.channel, message.control, message.value)

    def _program(self, channel: int, program: int) -> None:
        for lane in self.lanes[channel].values():
            self.player.channel_set_preset_number(lane, program, channel == DRUM_CHANNEL)

    def _level(self, channel: int) -> None:
        gain = (self.volume[channel] / 127 * self.expression[channel] / 127) ** 2
        for velocity, lane in self.lanes[channel].items():
            self.player.channel_set_volume(lane, gain * velocity / 127)

    def _control(self, channel: int, control: int, value: int) -> None:
        if control in (7, 11):
            (self.volume if control == 7 else self.expression)[channel] = value
            self._level(channel)
        for lane in self.lanes[channel].values():
            if control == 10:
                self.player.channel_set_pan(lane, np.sin(min(value / 128, 1) * np.pi / 2) ** 2)
            elif control in PITCH_CONTROLS:
                self.player.channel_midi_control(lane, control, value)


def soften_attenuation(font: bytes) -> bytes:
    """The SoundFont with every `initialAttenuation` scaled by ATTENUATION_SCALE."""
    softened = bytearray(font)
    for start, size in _generator_chunks(font):
        pairs = np.frombuffer(softened, "<i2", count=size // 2, offset=start).reshape(-1, 2)
        rows = pairs[:, 0] == GENERATOR_ATTENUATION
        pairs[rows, 1] = np.rint(ATTENUATION_SCALE * pairs[rows, 1])
    return bytes(softened)


def _generator_chunks(font: bytes) -> Iterator[tuple[int, int]]:
    """Start and size of the preset and instrument generators (SoundFont 2.01 §7.5, §7.9)."""
    at = 12  # past RIFF, its size, sfbk
    while at + 8 <= len(font):
        name, size = font[at : at + 4], int.from_bytes(font[at + 4 : at + 8], "little")
        if name == b"LIST":
            size = 4  # step inside
        elif name in (b"pgen", b"igen"):
            yield at + 8, size
        at += 8 + size + size % 2


def flatten_pedal(events: list[Event]) -> list[Event]:
    """The same sound without CC64: a note under the pedal ends when the pedal does.

    A key struck again ends its earlier note, as in FluidSynth. Notes still down at the end stop at
    the last event.
    """
    kept: list[Event] = []
    ringing: dict[tuple[int, int], str] = {}  # (channel, key): "held" or "pedalled"
    pedal: set[int] = set()

    def stop(frame: int, channel: int, key: int) -> None:
        del ringing[channel, key]
        kept.append(Event(frame, mido.Message("note_off", channel=channel, note=key)))

    for event in events:
        frame, message = event
        place = message.channel, getattr(message, "note", -1)
        if message.type == "note_on":
            if place in ringing:
                stop(frame, *place)
            ringing[place] = "held"
            kept.append(event)
        elif message.type == "note_off":
            if message.channel in pedal and place in ringing:
                ringing[place] = "pedalled"
            elif place in ringing:
                stop(frame, *place)
        elif message.is_cc(64):
            (pedal.add if message.value >= 64 else pedal.discard)(message.channel)
            for ended in [p for p, how in ringing.items() if p[0] == message.channel]:
                if message.channel not in pedal and ringing[ended] == "pedalled":
                    stop(frame, *ended)
        else:
            kept.append(event)
    for place in list(ringing):
        stop(events[-1].frame, *place)
    return kept


# ---------------------------------------------------------------- room


@cache
def room_response() -> Frames:
    """A small hall (2, n): two independent decaying noises, the highs decaying twice as fast."""
    size = int(ROOM_S * RATE)
    noise = np.random.default_rng(ROOM_SEED).standard_normal((2, size))
    low = signal.sosfilt(signal.butter(1, ROOM_CROSSOVER, fs=RATE, output="sos"), noise, axis=1)
    seconds = np.arange(size) / RATE
    decay = 10.0 ** (-3.0 * seconds / ROOM_S)
    response = low * decay + (noise - low) * decay**2
    response *= np.sqrt(10 ** (ROOM_LEVEL_DB / 10) / (response**2).sum(axis=1, keepdims=True))
    response = np.pad(response, ((0, 0), (int(ROOM_DELAY_S * RATE), 0)))
    response[:, 0] = 1.0  # the direct sound
    return response.astype(np.float32)


def add_room(sound: Frames) -> Frames:
    """The sound in that room: dry level kept, length kept."""
    response = room_response()
    frames, ring = sound.shape[1], response.shape[1] - 1
    wet = np.zeros((2, frames + ring), np.float32)
    for first in range(0, frames, ROOM_BLOCK):
        dry = sound[:, first : first + ROOM_BLOCK]
        wet[:, first : first + dry.shape[1] + ring] += signal.fftconvolve(dry, response, axes=1)
    return wet[:, :frames]
