"""Composing on to a file: what is given stays as it was, and the new bars are where they belong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import symusic
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from sonicrx_ml import given as given_file
from sonicrx_ml import prompting, rules, sampling
from sonicrx_ml.labels import CONDITIONS, FREE
from sonicrx_ml.motifs import composed
from sonicrx_ml.notes import DRUMS, MidiError, read_midi
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import Given, SamplingConfig
from sonicrx_ml.tokens import Vocabulary, encode

PLAIN = SamplingConfig(guidance=1.0, top_p=1.0, temperature=1.0)
VOCABULARY = Vocabulary.build()


@pytest.fixture(autouse=True)
def short_bars(monkeypatch):
    """A network that has learned nothing would fill every bar to the brim."""
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 14)


def file_of(tracks, *, ticks=480, meter=(4, 4), tempos=((0, 90.0),)):
    """MIDI bytes of (program, is drum, [(tick, ticks, pitch, velocity)]) tracks."""
    score = symusic.Score(ticks)
    score.time_signatures.append(symusic.TimeSignature(0, *meter))
    for time, bpm in tempos:
        score.tempos.append(symusic.Tempo(time, bpm))
    for program, drums, notes in tracks:
        track = symusic.Track("", program, drums)
        for note in sorted(notes):
            track.notes.append(symusic.Note(*note))
        score.tracks.append(track)
    return score.dumps_midi()


@st.composite
def files(draw):
    """Some bars in any order of ticks, with drums, odd notes, two tracks of one instrument."""
    ticks = draw(st.sampled_from([24, 220, 384, 480, 1024]))
    meter = draw(st.sampled_from([(4, 4), (3, 4), (6, 8), (2, 2)]))
    bar = 4 * ticks * meter[0] // meter[1]
    bars = draw(st.integers(3, 7))
    tracks = []
    kinds = [(0, False), (0, False), (48, False), (30, False), (0, True), (120, False)]
    for program, drums in draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=3)):
        columns = st.tuples(
            st.integers(0, bars * bar - 1), st.integers(1, 2 * bar),
            st.integers(10, 115), st.integers(1, 127),
        )  # fmt: skip
        drawn = draw(st.lists(columns, min_size=4, max_size=12))
        tracks.append((program, drums, list({(n[0], n[2]): n for n in drawn}.values())))
    tracks.append((0, False, [(i * bar, bar // 2, 60, 80) for i in range(bars)]))
    tempos = ((0, draw(st.floats(65, 150))), (draw(st.integers(1, bars * bar)), 100.0))
    return file_of(tracks, ticks=ticks, meter=meter, tempos=tempos)


def rows_of(notes):
    columns = (np.round(notes.onset, 12), np.round(notes.duration, 12), notes.pitch, notes.program,
               notes.velocity)  # fmt: skip
    return Counter(zip(*(column.tolist() for column in columns), strict=True))


ANY = settings(max_examples=6, phases=[Phase.generate],
               suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip


@ANY
@given(files(), st.sampled_from([None, "E"]), st.integers(0, 100))
def test_a_continuation_keeps_every_note_and_begins_after_them(bundle, data, key, seed):
    source = given_file.read(data)
    asked = Prescription(duration_s=12, key=key, seed=seed)
    made = prompting.continued(source, asked, bundle, PLAIN)
    before, whole = rows_of(read_midi(data)), rows_of(read_midi(made.midi))
    assert not before - whole
    new, composed = whole - before, made.composition.notes
    assert new.total() == len(composed)
    start = source.bars.edges[-1] - source.shift
    assert min(row[0] for row in new) >= start - 1e-9
    assert min(row[0] for row in new) >= read_midi(data).end - prompting.LATE - 1e-9
    assert made.bars[0] > len(source.bars)
    assert made.composition.prescription.key == (key or str(source.key).split()[0])
    assert made.composition.prescription.meter == str(source.bars.meters[-1])
    assert made.kept == before.total()
    start += (made.bars[0] - 1 - len(source.bars)) * source.bars.meters[-1].quarters
    assert min(row[0] for row in new) >= start - 1e-9
    heard = read_midi(made.midi)
    assert np.diff(heard.tempo.seconds(np.array([start, heard.end])))[0] == pytest.approx(
        12, abs=0.05
    )


@ANY
@given(st.data(), files())
def test_filled_bars_keep_every_note_outside(bundle, data, midi):
    source = given_file.read(midi)
    first = data.draw(st.integers(1, len(source.bars)))
    last = data.draw(st.integers(first, len(source.bars)))
    asked = Prescription(duration_s=30, seed=data.draw(st.integers(0, 99)))
    made = prompting.filled(source, first, last, asked, bundle, PLAIN)
    before, whole = rows_of(read_midi(midi)), rows_of(read_midi(made.midi))
    begin, end = source.bars.edges[[first - 1, last]] - source.shift
    early = 1 / 32
    outside = Counter({r: n for r, n in before.items() if not begin - early <= r[0] < end - early})
    assert not outside - whole
    new = whole - outside
    assert new.total() == len(made.composition.notes)
    assert min(row[0] for row in new) >= begin - 1e-9
    assert max(row[0] + row[1] for row in new) <= end + 0.01
    assert (made.kept, made.replaced) == (outside.total(), before.total() - outside.total())
    assert made.bars == (first, last)
    # in time as the file's own bars are
    spans = source.notes.tempo.seconds(source.bars.edges)
    assert made.composition.plan.seconds[-1] == pytest.approx(spans[last] - spans[first - 1])
    moved = read_midi(made.midi).tempo.seconds(np.array([end]))
    assert moved == pytest.approx(read_midi(midi).tempo.seconds(np.array([end])), abs=1e-4)


SCALE = [(i * 480, 480, 60 + (0, 2, 4, 5, 7, 9, 11, 12)[i % 8], 80) for i in range(32)]


def test_what_the_composer_hears_is_in_its_own_key(bundle):
    """The scale of D, which is C to the composer; asked for E, it is heard a tone lower."""
    data = file_of([(0, False, [(t, d, p + 2, v) for t, d, p, v in SCALE])])
    source = given_file.read(data)
    assert str(source.key) == "D major"
    seen = []
    original = sampling._Network.hear

    def watched(self, rows, ids, kind, conditions):
        seen.append((ids, conditions))
        return original(self, rows, ids, kind, conditions)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sampling._Network, "hear", watched)
        prompting.continued(source, Prescription(duration_s=10), bundle, PLAIN)
        prompting.continued(source, Prescription(duration_s=10, key="E"), bundle, PLAIN)
    pitches = [VOCABULARY.value[ids[VOCABULARY.kind[ids] == 7]] % 12 for ids, _ in seen]
    assert set(pitches[0].tolist()) <= {0, 2, 4, 5, 7, 9, 11}
    assert set(pitches[1].tolist()) <= {10, 0, 2, 3, 5, 7, 9}
    modes = [conditions[:, CONDITIONS.index("mode")] for _, conditions in seen]
    assert (modes[0] > FREE).all()  # in C
    assert (modes[1] == FREE).all()  # in B flat nothing is told
    ids, conditions = seen[0]
    assert len(ids) < bundle.size.context
    assert len(conditions) == (VOCABULARY.kind[ids] == 3).sum()


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_given_bars_are_heard_as_the_model_hears_them(bundle, guidance):
    """After them the logits are the whole model's, and what is composed is something else; so are
    those of the twin that guidance runs beside it."""
    config = replace(PLAIN, guidance=guidance)
    asked = Prescription.from_dict({"duration_s": 20, "tempo": 96, "seed": 3})
    laid = plan(asked)
    (whole,) = sampling.sample(bundle, [laid], [3], PLAIN)
    ids, starts = encode(whole, VOCABULARY)
    head = ids[: starts[3]]
    conditions = sampling._conditions(bundle, [laid])[0, :3]
    heard = Given(np.insert(head, 0, VOCABULARY.bos), conditions)
    takes = sampling._Takes(bundle, [laid], [3], config)
    takes.hear(0, heard)
    both = np.stack([conditions, sampling._of_twin(conditions)][: takes.network.copies])
    takes.network.injected_LBKD = bundle.decoder().inject(both)  # its last bar goes on
    logits = takes.network.step(takes.ids, np.array([2]), np.array([True]))
    inputs = np.insert(head, 0, VOCABULARY.bos)[None].astype(np.int64)
    assert inputs.shape[1] <= bundle.size.context
    bar = (np.cumsum(inputs == VOCABULARY.bar, axis=1) - 1).clip(0)
    with torch.inference_mode():
        told, twin = (
            bundle.composer(*map(torch.from_numpy, (inputs, bar, each[None])))[0, -1].numpy()
            for each in (conditions, sampling._of_twin(conditions))
        )
    np.testing.assert_allclose(logits[0], twin + guidance * (told - twin), atol=4e-4)
    (other,) = sampling.sample(bundle, [laid], [3], PLAIN, given=[heard])
    assert other.pitch.tolist() != whole.pitch.tolist()


def test_open_controls_are_the_file_s(bundle):
    data = file_of([(40, False, SCALE), (0, True, SCALE[:4])], meter=(3, 4), tempos=[(0, 66.0)])
    made = prompting.continued(given_file.read(data), Prescription(duration_s=15), bundle, PLAIN)
    asked = made.composition.prescription
    assert (asked.key, asked.mode, asked.meter) == ("C", "major", "3/4")
    assert asked.tempo is not None
    assert asked.tempo(0.5) == pytest.approx(66, abs=0.01)
    assert set(made.composition.notes.program) == {40}
    assert DRUMS in read_midi(made.midi).program


@pytest.mark.parametrize(("program", "name"), [(48, "strings"), (42, "cello"), (44, "violin")])
def test_an_open_palette_names_what_the_file_plays(bundle, program, name):
    """44, tremolo strings, is in no palette: it goes on sounding, under the family's first name."""
    notes = [(480 * i, 480, 60 + i % 5, 80) for i in range(16)]
    source = given_file.read(file_of([(program, False, notes)]))
    made = prompting.continued(source, Prescription(duration_s=12), bundle, PLAIN)
    assert made.composition.prescription.instruments == (name,)
    assert set(made.composition.notes.program.tolist()) == {program}


def test_filled_bars_have_no_anchor(bundle):
    """A listener's motif may be longer than they are."""
    source = given_file.read(file_of([(0, False, SCALE)]))
    asked = Prescription(duration_s=30, anchor=composed(7), anchor_at=(0.0, 0.5))
    made = prompting.filled(source, 3, 4, asked, bundle, PLAIN)
    found = made.composition.prescription
    assert (found.anchor, found.anchor_at) == (None, None)


def test_what_is_not_heard_is_counted():
    notes = [*SCALE, (20, 100, 64, 80), (25, 90, 15, 80)]
    source = given_file.read(file_of([(0, False, notes), (0, True, SCALE[:5])]))
    assert source.lost == {"unpitched": 5, "off_range": 1, "off the grid": 1}


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (0, 2, r"fill \[0, 2\]; legal are bars 1 to 8, first to last"),
        (3, 9, r"fill \[3, 9\]; legal are bars 1 to 8"),
        (5, 4, r"fill \[5, 4\]; legal are bars 1 to 8"),
    ],
)
def test_bars_that_are_not_there_are_refused(bundle, first, last, said):
    source = given_file.read(file_of([(0, False, SCALE)]))
    with pytest.raises(ValueError, match=said):
        prompting.filled(source, first, last, Prescription(duration_s=30), bundle, PLAIN)


def test_what_cannot_be_composed_on_to_is_refused(bundle):
    with pytest.raises(MidiError, match="not a MIDI file"):
        given_file.read(b"no music")
    with pytest.raises(MidiError, match="unsupported meter 21/8"):
        given_file.read(file_of([(0, False, SCALE)], meter=(21, 8)))
    five = given_file.read(file_of([(0, False, SCALE)], meter=(5, 4)))
    with pytest.raises(ValueError, match=r"bar 7 is in 5/4; legal are files in 4/4, 3/4"):
        prompting.continued(five, Prescription(duration_s=30), bundle, PLAIN)
    source = given_file.read(file_of([(0, False, SCALE)]))
    with pytest.raises(ValueError, match=r"meter 3/4, but bar 8 is in 4/4; legal is the file's"):
        prompting.continued(source, Prescription(duration_s=30, meter="3/4"), bundle, PLAIN)
    fast = given_file.read(file_of([(0, False, SCALE)], tempos=[(0, 300.0)]))
    with pytest.raises(ValueError, match=r"bars 5 to 8 is 300 felt BPM; legal are 40 to 210"):
        prompting.continued(fast, Prescription(duration_s=30), bundle, PLAIN)


def test_filled_bars_are_asked_for_the_tempo_that_the_file_has(bundle):
    """Faster bar by bar: its mean alone would be off at both ends."""
    moving = [(4 * 480 * bar, 60.0 + 4 * bar) for bar in range(8)]
    source = given_file.read(file_of([(0, False, SCALE)], tempos=moving))
    made = prompting.filled(source, 3, 6, Prescription(duration_s=30), bundle, PLAIN)
    asked, laid = made.composition.prescription.tempo, made.composition.plan
    assert asked is not None
    middle = (laid.seconds[:-1] + laid.seconds[1:]) / 2 / laid.seconds[-1]
    assert asked(middle) == pytest.approx([68, 72, 76, 80], rel=1e-3)


def test_what_is_heard_of_a_file_is_what_is_remembered(bundle):
    source = given_file.read(file_of([(0, False, SCALE)]))
    laid = plan(Prescription(duration_s=20))
    size = replace(bundle.size, context=512)
    wide = replace(bundle, size=size)
    heard = [
        prompting._before(source, 8, laid, len(laid), wide, replace(PLAIN, memory=memory))
        for memory in (64, 512)
    ]
    lengths = [0 if given is None else len(given.ids) for given in heard]
    assert 0 < lengths[0] <= 64 < lengths[1]
