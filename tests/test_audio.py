"""Rendering laws (level, pan, pedal, time), determinism, and files.

Tests that compare with FluidSynth run only where its library is installed: 9 of them.
"""

import hashlib
import json

import numpy as np
import pytest
import soundfile

from sonicrx_ml import acoustics, audio, synthesis
from sonicrx_ml.audio import PACKAGED_FONT, Sound
from sonicrx_ml.notes import ControlChange, MidiError, Notes, TempoMap, write_midi
from sonicrx_ml.synthesis import RATE
from sonicrx_ml.tempo import tempo_near

FLUIDSYNTH = synthesis.fluidsynth() is not None
ENGINES = [
    "tinysoundfont",
    pytest.param(
        "fluidsynth", marks=pytest.mark.skipif(not FLUIDSYNTH, reason="no FluidSynth library")
    ),
]
PIANO, ORGAN, STRINGS, FLUTE, PAD = 0, 19, 48, 73, 89


def midi(rows, controls=(), bpm=60.0):
    """Bytes of notes (onset, duration, pitch, velocity, program), in quarters at 60 BPM."""
    onset, duration, pitch, velocity, program = (np.array(c) for c in zip(*rows, strict=True))
    tempo = TempoMap(np.zeros(1), np.array([bpm]))
    return write_midi(
        Notes(onset * 1.0, duration * 1.0, pitch, velocity, program, tempo=tempo), controls
    )


def play(rows, controls=(), engine="tinysoundfont", tail_s=0.5):
    return audio.render(midi(rows, controls), engine=engine, font=PACKAGED_FONT, tail_s=tail_s)


def rms_db(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)) + 1e-20)


# ---------------------------------------------------------------- rendering


@pytest.mark.parametrize("engine", ENGINES)
def test_stereo_48_khz_as_long_as_the_music_and_its_tail(engine):
    sound = play([(0, 1, 60, 80, PIANO), (1.5, 0.75, 64, 80, STRINGS)], engine=engine, tail_s=1.0)
    assert (sound.rate, sound.samples.dtype, sound.samples.shape) == (RATE, np.float32, (2, 156000))
    assert sound.engine.lower().startswith(engine)
    assert sound.font == "TimGM6mb.sf2"
    assert sound.font_sha256 == hashlib.sha256(PACKAGED_FONT.read_bytes()).hexdigest()
    assert 1e-3 < np.abs(sound.samples).max() < 1.0


@pytest.mark.parametrize("engine", ENGINES)
def test_two_renders_are_sample_identical(engine):
    rows = [(0.1 * i, 0.5, 50 + i, 40 + i, p) for i in range(20) for p in (PIANO, STRINGS)]
    np.testing.assert_array_equal(
        play(rows, engine=engine).samples, play(rows, engine=engine).samples
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("controls", "velocity", "fraction"),
    [
        ([], 64, 64 / 127),
        ([], 32, 32 / 127),
        ([ControlChange(0, FLUTE, 7, 50)], 127, 50 / 100),  # CC7 starts at 100
        ([ControlChange(0, FLUTE, 11, 64)], 127, 64 / 127),
        ([ControlChange(0, FLUTE, 11, 64)], 64, (64 / 127) ** 2),
    ],
)
def test_velocity_volume_and_expression_follow_40_log(engine, controls, velocity, fraction):
    """The concave attenuation of SoundFont 2.01 §8.4, 960 cB: 40·log10(value / 127) dB."""
    loud = play([(0, 1, 72, 127, FLUTE)], engine=engine)
    soft = play([(0, 1, 72, velocity, FLUTE)], controls, engine=engine)
    change = rms_db(soft.samples) - rms_db(loud.samples)
    assert change == pytest.approx(40 * np.log10(fraction), abs=0.4)


def test_expression_shapes_a_held_note():
    swell = [ControlChange(0.1 * i, ORGAN, 11, 20 + 5 * i) for i in range(20)]
    sound = play([(0, 2, 60, 90, ORGAN)], swell).samples
    levels = [rms_db(sound[:, s : s + 4800]) for s in range(9600, 96000, 9600)]
    assert (np.diff(levels) > 0).all()


def test_pan_follows_the_sine_law(monkeypatch):
    monkeypatch.setattr(synthesis, "add_room", lambda dry: dry)  # its two sides differ by tone
    for value, angle in ((0, 0.0), (32, np.pi / 8), (64, np.pi / 4), (96, 3 * np.pi / 8)):
        sound = play([(0, 1, 72, 100, FLUTE)], [ControlChange(0, FLUTE, 10, value)]).samples
        left, right = (10 ** (rms_db(channel) / 20) for channel in sound)
        assert np.arctan2(right, left) == pytest.approx(angle, abs=0.02)


@pytest.mark.parametrize("release", [2.0, 3.0])
def test_pedal_is_a_longer_note(release):
    pedal = [ControlChange(0.2, PIANO, 64, 127), ControlChange(release, PIANO, 64, 0)]
    last = (3.5, 0.5, 40, 60, PIANO)
    pedalled = play([(0, 0.5, 60, 80, PIANO), last], pedal)
    held = play([(0, release, 60, 80, PIANO), last])
    np.testing.assert_array_equal(pedalled.samples, held.samples)


def test_a_pedalled_key_struck_again_ends_its_first_note():
    pedal = [ControlChange(0, PIANO, 64, 127), ControlChange(3, PIANO, 64, 0)]
    pedalled = play([(0, 0.5, 60, 80, PIANO), (1, 0.5, 60, 80, PIANO)], pedal)
    held = play([(0, 1, 60, 80, PIANO), (1, 2, 60, 80, PIANO)])
    np.testing.assert_array_equal(pedalled.samples, held.samples)


def test_a_key_held_twice_sounds_until_its_last_release():
    twice = play([(0, 1.0, 60, 80, ORGAN), (0.5, 1.5, 60, 80, ORGAN)])
    apart = play([(0, 0.5, 60, 80, ORGAN), (0.5, 1.5, 60, 80, ORGAN)])
    np.testing.assert_array_equal(twice.samples, apart.samples)


def test_events_are_exact_to_the_sample():
    """1/480 quarter at 60 BPM is 100 frames: the same note that much later is the same sound."""
    early = play([(0, 1, 60, 80, PIANO)]).samples
    for ticks in (1, 7, 240):
        late = play([(ticks / 480, 1, 60, 80, PIANO)]).samples
        np.testing.assert_allclose(late[:, 100 * ticks :], early, atol=1e-6)
        assert np.abs(late[:, : 100 * ticks]).max() < 1e-6


def test_the_room_rings_on_after_the_sound_and_keeps_its_level():
    dry = np.zeros((2, RATE), np.float32)
    dry[:, 100] = 0.5
    wet = synthesis.add_room(dry)
    assert wet[:, 100] == pytest.approx(0.5, abs=1e-3)
    assert np.abs(wet[:, :100]).max() < 1e-6
    early, late = rms_db(wet[:, 2000:10_000]), rms_db(wet[:, 34_000:42_000])
    assert -34 < late - early < -16  # 2/3 s: 22 dB of the lows' decay, 44 dB of the highs'
    left, right = wet[:, 2000:]
    assert abs(np.corrcoef(np.stack([left, right]))[0, 1]) < 0.1


@pytest.mark.skipif(not FLUIDSYNTH, reason="no FluidSynth library")
def test_the_balance_of_instruments_is_fluidsynths():
    for program in (PIANO, ORGAN, STRINGS, FLUTE, PAD):
        row = [(0, 2, 60, 64, program)]
        tiny, fluid = (play(row, engine=e).samples for e in ("tinysoundfont", "fluidsynth"))
        assert rms_db(tiny) == pytest.approx(rms_db(fluid), abs=2.0)


def test_a_gliding_tempo_can_be_measured_on_the_sound():
    tempo = TempoMap(np.arange(0.0, 40.0, 4.0), np.array([80.0 - 20.0 * i / 9 for i in range(10)]))
    beats = np.arange(40) * 1.0
    notes = Notes(
        onset=np.repeat(beats, 2),
        duration=np.ones(80),
        pitch=np.stack([48 + beats * 7 % 12, 60 + beats * 5 % 12], axis=1).astype(int).ravel(),
        velocity=np.full(80, 60),
        program=np.tile([PIANO, STRINGS], 40),
        tempo=tempo,
    ).sort()
    sound = audio.render(write_midi(notes), engine="tinysoundfont", font=PACKAGED_FONT)
    starts = tempo.seconds(tempo.start)
    asked = acoustics.Curve(starts + 2 * 60 / tempo.bpm, tempo.bpm, "BPM")  # at mid-bar
    biased = acoustics.Curve(asked.times, asked.values * 1.04, "BPM")
    music = sound.samples[:, : round(notes.end_seconds * RATE)]
    found = tempo_near(music, RATE, biased)
    np.testing.assert_allclose(found.values, asked.at(found.times), rtol=0.01)


# ---------------------------------------------------------------- what is refused


def test_unknown_engine_and_missing_library_name_the_legal_ones(monkeypatch):
    note = midi([(0, 1, 60, 80, PIANO)])
    with pytest.raises(ValueError, match="'timidity'; legal are auto, fluidsynth, tinysoundfont"):
        audio.render(note, engine="timidity")
    with pytest.raises(ValueError, match="tail_s -1; legal are 0 to 60"):
        audio.render(note, tail_s=-1)
    monkeypatch.setattr(synthesis, "fluidsynth", lambda: None)
    with pytest.raises(ValueError, match="legal: tinysoundfont"):
        audio.render(note, engine="fluidsynth")
    assert audio.render(note, font=PACKAGED_FONT).engine.startswith("tinysoundfont 0.")


@pytest.mark.parametrize("engine", ENGINES)
def test_fonts_that_are_none(engine, tmp_path):
    note = midi([(0, 1, 60, 80, PIANO)])
    with pytest.raises(ValueError, match=r"is not a file; legal are paths of \.sf2"):
        audio.render(note, engine=engine, font=tmp_path / "absent.sf2")
    text = tmp_path / "text.sf2"
    text.write_text("not a font")
    with pytest.raises(ValueError, match=r"text\.sf2 is not a SoundFont"):
        audio.render(note, engine=engine, font=text)
    with pytest.raises(ValueError, match=r"text\.sf2 is not a SoundFont"):
        audio.check(engine, text)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_can_play_is_not_refused(engine):
    audio.check(engine, PACKAGED_FONT)


def test_the_environment_names_the_font(monkeypatch, tmp_path):
    link = tmp_path / "mine.sf2"
    link.symlink_to(PACKAGED_FONT)
    monkeypatch.setenv("SONICRX_SOUNDFONT", str(link))
    assert audio.find_font() == link
    assert audio.find_font(PACKAGED_FONT) == PACKAGED_FONT
    monkeypatch.setenv("SONICRX_SOUNDFONT", str(tmp_path / "absent.sf2"))
    with pytest.raises(ValueError, match=r"absent\.sf2"):
        audio.find_font()
    monkeypatch.delenv("SONICRX_SOUNDFONT")
    monkeypatch.setattr(audio, "SYSTEM_FONTS", ())
    assert audio.find_font() == PACKAGED_FONT


def test_what_is_not_midi_is_refused():
    with pytest.raises(MidiError, match="not a MIDI file"):
        audio.render(b"RIFF0000WAVEfmt ")


# ---------------------------------------------------------------- files


@pytest.fixture(scope="module")
def sound():
    return play([(0, 1, 60, 80, PIANO), (1, 1, 67, 90, STRINGS)])


TAGS = {"title": "Abend", "prescription": "rx-42", "comment": json.dumps({"ziel": "Schläfchen"})}


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_24_bit_files_round_trip(sound, suffix, tmp_path):
    path = audio.save(sound, tmp_path / f"track{suffix}", TAGS)
    samples, rate = audio.load(path)
    assert (rate, soundfile.info(path).subtype) == (RATE, "PCM_24")
    np.testing.assert_allclose(samples, sound.samples, atol=2**-23)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".opus"])
def test_tags_round_trip_and_bytes_repeat(sound, suffix, tmp_path):
    first = audio.save(sound, tmp_path / f"a{suffix}", TAGS)
    second = audio.save(sound, tmp_path / f"b{suffix}", TAGS)
    assert first.read_bytes() == second.read_bytes()
    made_by = {"engine": sound.engine, "font": sound.font, "font_sha256": sound.font_sha256}
    assert audio.read_tags(first) == TAGS | made_by
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"a{suffix}", f"b{suffix}"]


@pytest.mark.parametrize("suffix", [".mp3", ".opus"])
def test_what_is_compressed_sounds_alike_and_as_long(sound, suffix, tmp_path):
    samples, rate = audio.load(audio.save(sound, tmp_path / f"track{suffix}", {}))
    assert rate == RATE
    assert samples.shape == sound.samples.shape
    assert np.corrcoef(samples.ravel(), sound.samples.ravel())[0, 1] > 0.99


def test_files_that_cannot_be_written_leave_nothing(sound, tmp_path):
    with pytest.raises(ValueError, match=r"suffix '.ogg' of a.ogg; legal are .wav, .+, .opus"):
        audio.save(sound, tmp_path / "a.ogg", {})
    loud = Sound(sound.samples * 1000, RATE, "", "", "")
    with pytest.raises(ValueError, match=r"would clip in a\.flac"):
        audio.save(loud, tmp_path / "a.flac", {})
    assert list(tmp_path.iterdir()) == []
