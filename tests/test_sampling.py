"""Sampling: whatever the network says, the stream is what was asked, and a seed is a piece."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sonicrx_ml import compose, rules, sampling
from sonicrx_ml.canonical import GRID
from sonicrx_ml.labels import CONDITIONS, FREE, SILENT, SOUNDS
from sonicrx_ml.notes import read_midi
from sonicrx_ml.palette import FAMILIES, PALETTE
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import CONTROLS, METERS, MODES, TONICS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.tokens import Vocabulary

VOCABULARY = Vocabulary.build()


class Only:
    """A rule that allows tokens of one kind."""

    def __init__(self, name):
        self.kind = VOCABULARY.kind[VOCABULARY.names.index(name)]

    def allowed(self, state):
        return (state.kind_V == self.kind)[None]


def test_of_rules_that_contradict_each_other_the_later_yields_and_is_counted():
    state = rules.State(2, VOCABULARY)
    free = np.ones((2, len(VOCABULARY)), dtype=bool)
    free[1] = state.kind_V == VOCABULARY.kind[VOCABULARY.bar]
    bars, ends = Only("Bar_None"), Only("EOS_None")
    found = rules.narrowed(free, [bars, ends, bars], state)
    np.testing.assert_array_equal(found, np.tile(bars.allowed(state), (2, 1)))
    assert state.yielded.tolist() == [1, 1]
    spared = rules.narrowed(free, [bars, ends], state, ends.allowed(state))
    np.testing.assert_array_equal(spared[0], ends.allowed(state)[0])
    assert state.yielded.tolist() == [1, 2]


PLAIN = SamplingConfig(guidance=1.0, top_p=1.0, temperature=1.0)


def curves(name):
    level = st.floats(CONTROLS[name].low, CONTROLS[name].high)
    return st.none() | level | st.tuples(level, level).map(list)


@st.composite
def prescriptions(draw):
    """Any legal prescription of up to half a minute."""
    by_family = draw(st.lists(st.sampled_from(list(FAMILIES)), max_size=4, unique=True))
    families = [[name for name, (_, of) in PALETTE.items() if of == f] for f in by_family]
    values = {
        "duration_s": draw(st.floats(10, 20)),
        "key": draw(st.none() | st.sampled_from(TONICS)),
        "mode": draw(st.none() | st.sampled_from(MODES)),
        "meter": draw(st.none() | st.sampled_from(METERS)),
        "instruments": [draw(st.sampled_from(names)) for names in families] or None,
        "final_silence_s": draw(st.floats(0, 5)),
        "seed": draw(st.integers(0, 2**31 - 1)),
    }
    for name in ("tempo", "energy", "density", "polyphony", "register", "articulation",
                 "chromaticism"):  # fmt: skip
        values[name] = draw(curves(name))
    values = {name: value for name, value in values.items() if value is not None}
    try:
        return Prescription.from_dict(values)
    except ValueError:  # too slow or too silent to hold two bars: a little longer is legal
        return Prescription.from_dict(values | {"duration_s": 30, "tempo": 120})


@pytest.fixture(autouse=True)
def short_bars(monkeypatch):
    """A network that has learned nothing would fill every bar to the brim."""
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 14)


# ---------------------------------------------------------------- the promise


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(prescriptions(), min_size=1, max_size=3), st.sampled_from([1.0, 2.0]))
def test_any_prescription_is_met_where_it_is_exact(bundle, asked, guidance):
    config = SamplingConfig(guidance=guidance, temperature=1.5, top_p=1.0)
    for composition in compose.compose(asked, bundle, config):
        prescription, bars, notes = (
            composition.prescription, composition.plan, composition.notes,
        )  # fmt: skip
        assert notes.end == pytest.approx(bars.end_quarters, abs=1e-9)
        assert notes.end_seconds == pytest.approx(prescription.music_s, abs=1e-6)
        assert set(notes.program) <= set(bars.programs.values())
        assert notes.pitch.min() >= 21
        assert notes.pitch.max() <= 108
        assert notes.velocity.min() >= 1
        assert notes.velocity.max() <= 127
        sounding = np.unique(bars.bars.index(notes.onset))
        assert sounding[0] == 0
        assert sounding[-1] == len(bars) - 1
        assert np.diff(sounding).max(initial=1) <= 2
        heard = read_midi(composition.midi)
        assert len(heard) == len(notes)
        assert heard.end_seconds == pytest.approx(prescription.music_s, abs=0.05)
        assert (heard.duration > 0).all()
        assert overlaps(heard) == 0


def overlaps(notes):
    """Notes that are struck while their own key still sounds (a MIDI tick is 1/480 quarter)."""
    order = np.lexsort((notes.onset, notes.pitch, notes.program))
    n = notes.select(order)
    same = (np.diff(n.program) == 0) & (np.diff(n.pitch) == 0)
    return int((same & (n.onset[1:] < n.release[:-1] - 1e-6)).sum())


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prescriptions())
def test_the_raw_model_never_crashes(bundle, asked):
    config = SamplingConfig(masked=False, guidance=1.0)
    (composition,) = compose.compose([asked], bundle, config)
    assert composition.notes.end <= composition.plan.end_quarters + 1e-9


@pytest.mark.parametrize("meter", METERS)
def test_a_raw_stream_is_given_its_meter(bundle, meter):
    laid = plan(Prescription(duration_s=20, meter=meter, seed=2))
    (grid,) = sampling.sample(bundle, [laid], [2], dataclasses.replace(PLAIN, masked=False))
    assert {str(found) for found in grid.meters} == {meter}


# ---------------------------------------------------------------- rules against re-reading


def allowed_slowly(prefix, laid, masked):
    """Names of the tokens that may follow, from the names so far."""
    meter = laid.bars.meters[0]
    start = max((i for i, name in enumerate(prefix) if name == "Bar_None"), default=None)
    if start is None:
        return {"Bar_None"}
    n_bars = prefix.count("Bar_None")
    bar, last = prefix[start + 1 :], prefix[-1].split("_")[0]
    if last == "EOS":
        return {"PAD_None"}
    if last == "Bar":
        return {f"TimeSig_{meter}"}
    if last == "Pitch":
        return {
            n for n in names_of("Duration") if not masked or affordable(n, prefix, laid, n_bars)
        }
    family, position, pitch = None, -1, -1
    used: list[str | None] = []
    for name in bar:
        kind, _, value = name.partition("_")
        if kind == "Position":
            position, pitch, used = int(value), -1, []
        elif kind == "Program":
            family, pitch = name, -1
        elif kind == "Pitch":
            pitch = int(value)
            used.append(family)
    pitches = {n for n in names_of("Pitch") if family and int(n.split("_")[1]) > pitch}
    programs = {n for n in names_of("Program") if n != family and n not in used}
    positions = {n for n in names_of("Position") if int(n.split("_")[1]) > position}
    leave = {"Bar_None", "EOS_None"}
    if masked:
        asked = laid.targets["register"][n_bars - 1]
        low, high = 21 - laid.transposition, 108 - laid.transposition
        if not np.isnan(asked):
            low, high = max(low, int(asked - 26)), min(high, int(asked + 26))
        pitches = {n for n in pitches if low <= int(n.split("_")[1]) <= high}
        programs &= playing(laid, n_bars - 1)
        pitches = {n for n in pitches if in_tune(int(n.split("_")[1]) % 12, prefix, laid, n_bars)}
        due = due_families(prefix, laid, n_bars)
        if last == "Position" and due:
            programs, pitches = programs & due, set()
        final = n_bars == len(laid)
        unit = 4 / meter.denominator / GRID
        size = meter.quarters
        if final and laid.end_quarters - laid.bars.edges[-2] < size:
            size = laid.end_quarters - laid.bars.edges[-2] - unit * GRID / 2
        positions = {n for n in positions if int(n.split("_")[1]) * unit < size}
        leave = {"EOS_None"} if final else {"Bar_None"}
        bars = " ".join(prefix).split("Bar_None")[1:]
        silent_before = n_bars > 1 and "Pitch" not in bars[-2]
        if "Pitch" not in bars[-1] and (n_bars == 1 or final or silent_before):
            leave = set()
        if last == "Duration" and len(bar) >= rules.TOKENS_PER_BAR:
            return leave
    return {
        "TimeSig": positions | leave,
        "Position": programs | pitches,
        "Program": pitches,
        "Duration": positions | programs | pitches | leave,
    }[last]


def in_tune(pitch_class, prefix, laid, n_bars):
    """A tonic triad at the end; out of scale only what the asked share has room for."""
    if laid.mode is None:
        return True
    outside = {1, 3, 6, 8, 10} - ({8} if laid.mode == "minor" else set())
    if (
        n_bars == len(laid)
        and pitch_class not in {"major": {0, 4, 7}, "minor": {9, 0, 4}}[laid.mode]
    ):
        return False
    asked = laid.targets["chromaticism"][n_bars - 1]
    if np.isnan(asked) or pitch_class not in outside:
        return True
    return within_share(GRID / 2, asked, outside, prefix, GRID)


def within_share(length, asked, outside, prefix, sounds=None):
    """Whether one more foreign note of a length keeps their share of the note time, fading
    with every whole note that passes."""
    numerator, denominator = map(int, prefix[prefix.index("Bar_None") + 1].split("_")[1].split("/"))
    bars = np.cumsum([name == "Bar_None" for name in prefix]) * numerator / denominator
    lengths = [(int(n.split("_")[1]) % 12,
                positions_of(prefix[i + 1]) * rules.FADE ** (bars[-1] - bars[i]))
               for i, n in enumerate(prefix[:-1]) if n.startswith("Pitch")]  # fmt: skip
    foreign = sum(length for pc, length in lengths if pc in outside)
    total = sum(length for _, length in lengths)
    return foreign + length <= asked * (total + (sounds or length))


def affordable(duration, prefix, laid, n_bars):
    """A foreign note lasts a beat at most, or what its share has room for."""
    asked = laid.targets["chromaticism"][n_bars - 1]
    outside = {1, 3, 6, 8, 10} - ({8} if laid.mode == "minor" else set())
    foreign = int(prefix[-1].split("_")[1]) % 12 in outside
    if laid.mode is None or np.isnan(asked) or not foreign or positions_of(duration) <= GRID:
        return True
    return within_share(positions_of(duration), asked, outside, prefix)


def positions_of(duration):
    beats, part, resolution = map(int, duration.split("_")[1].split("."))
    return beats * GRID + part * GRID // resolution


def playing(laid, bar):
    """Program tokens of the families that the plan has playing in a bar."""
    mine = zip(laid.families, laid.playing[bar], strict=True)
    return {f"Program_{FAMILIES[family]}" for family, plays in mine if plays}


def due_families(prefix, laid, n_bars):
    """Families that are to play and have begun no note in this bar and the one before."""
    lately = " ".join(prefix).split("Bar_None")[1:][-2:]
    return {
        name
        for name in playing(laid, n_bars - 1)
        if not any(f"{name} Pitch" in bar for bar in lately)
    }


KINDS: dict[str, set[str]] = {}
for name in VOCABULARY.names:
    KINDS.setdefault(name.split("_")[0], set()).add(name)


def names_of(kind):
    return set(KINDS[kind])


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prescriptions(), st.booleans(), st.randoms(use_true_random=False))
def test_masks_equal_rereading_the_stream(asked, masked, random):
    laid = plan(asked)
    held = (rules.rules_for if masked else rules.raw_rules_for)([laid], VOCABULARY)
    state = rules.State(1, VOCABULARY)
    prefix: list[str] = []
    for _ in range(50):
        allowed = np.ones((1, len(VOCABULARY)), dtype=bool)
        for rule in held:
            allowed &= rule.allowed(state)
        names = {VOCABULARY.names[i] for i in np.flatnonzero(allowed[0])}
        assert names == allowed_slowly(prefix, laid, masked), prefix
        kinds = sorted({name.split("_")[0] for name in names})  # kinds in equal shares
        kind = random.choice(kinds)
        prefix.append(random.choice(sorted(n for n in names if n.split("_")[0] == kind)))
        state.update(np.array([VOCABULARY.names.index(prefix[-1])]))
        if prefix[-1] == "PAD_None":
            break


# ---------------------------------------------------------------- the draw


def test_a_draw_inverts_the_distribution_of_the_likeliest():
    # in falling order .5 (2), .3 (0), .15 (3), .05 (1); the smallest set that holds .8 is {2, 0}
    logits = np.log([[0.3, 0.05, 0.5, 0.15]])

    def drawn(uniform, top_p):
        return int(sampling._draw(logits, np.array([uniform]), top_p)[0])

    for uniform, token in ((0.0, 2), (0.624, 2), (0.626, 0), (0.999999, 0)):  # edge at .5/.8
        assert drawn(uniform, 0.79) == token
    for uniform, token in ((0.49, 2), (0.51, 0), (0.79, 0), (0.81, 3), (0.94, 3), (0.96, 1)):
        assert drawn(uniform, 1.0) == token
    assert [drawn(u, 0.1) for u in (0.0, 0.99)] == [2, 2]
    assert drawn(0.82, 0.81) == 0  # .5 + .3 holds less than .81: the third is kept, edge at .842
    assert drawn(0.85, 0.81) == 3


def test_forbidden_tokens_are_never_drawn():
    logits = np.tile([5.0, -np.inf, 1.0, -np.inf], (1000, 1))
    uniform = np.linspace(0, 1 - 1e-7, 1000)
    assert set(sampling._draw(logits, uniform, 1.0).tolist()) == {0, 2}


# ---------------------------------------------------------------- streams


def two_takes():
    one = Prescription(duration_s=12, seed=1)
    other = Prescription.from_dict(
        {"duration_s": 15, "meter": "3/4", "instruments": ["flute", "harp"], "seed": 2}
    )
    return [one, other]


def streams(bundle, asked, config):
    """The whole stream of each prescription."""
    plans = [plan(p) for p in asked]
    found: list[list[np.ndarray]] = [[] for _ in plans]
    for index, ids in sampling.stream(bundle, plans, [p.seed for p in asked], config):
        found[index].append(ids)
    return [np.concatenate(parts) for parts in found]


def test_the_same_seed_gives_the_same_stream_and_another_gives_another(bundle):
    (first,) = streams(bundle, two_takes()[:1], PLAIN)
    np.testing.assert_array_equal(first, streams(bundle, two_takes()[:1], PLAIN)[0])
    (other,) = streams(bundle, [dataclasses.replace(two_takes()[0], seed=9)], PLAIN)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("guidance", "masked"), [(1.0, True), (2.0, True), (1.0, False)])
def test_a_stream_is_the_same_alone_and_in_a_batch(bundle, guidance, masked):
    """A raw one too, which may go on past the end of its plan."""
    config = dataclasses.replace(PLAIN, guidance=guidance, masked=masked)
    together = streams(bundle, two_takes(), config)
    for row, asked in enumerate(two_takes()):
        (alone,) = streams(bundle, [asked], config)
        np.testing.assert_array_equal(together[row], alone)


def test_a_raw_stream_may_fill_a_bar_with_more_than_the_rules_would_let_it(bundle, monkeypatch):
    raw = dataclasses.replace(PLAIN, masked=False)
    whole = streams(bundle, two_takes(), raw)
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 0)
    monkeypatch.setattr(sampling, "OVERRUN_TOKENS", 3)
    for ids, found in zip(whole, streams(bundle, two_takes(), raw), strict=True):
        np.testing.assert_array_equal(found, ids)


@pytest.mark.parametrize("chosen", [0, 2])
def test_a_take_that_is_always_chosen_is_as_if_it_were_alone(bundle, chosen):
    """Waiting for others, and being copied over them, leaves no trace."""
    plans = [plan(p) for p in (*two_takes(), Prescription(duration_s=40, seed=5))]
    seeds = [p.seed for p in (*two_takes(), Prescription(duration_s=40, seed=5))]
    several = dataclasses.replace(PLAIN, best_of=3, guidance=2.0)
    phrases = []

    def choose(index, first, grids):
        phrases.append((index, first, [len(grid.meters) for grid in grids]))
        return chosen

    together = sampling.sample(bundle, plans, seeds, several, choose)
    alone = dataclasses.replace(PLAIN, guidance=2.0)
    for found, laid, seed in zip(together, plans, seeds, strict=True):
        own = (seed, chosen) if chosen else seed
        (wanted,) = sampling.sample(bundle, [laid], [own], alone)
        for name in ("bar", "position", "length", "pitch", "family"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))
    assert [found[1:] for found in phrases if found[0] == 2][:2] == [(0, [4] * 3), (0, [8] * 3)]


def test_takes_are_chosen_by_their_latest_bars(bundle, monkeypatch):
    """What a choice looks at does not grow with the piece, and is the end of what was composed."""
    monkeypatch.setattr(sampling, "WINDOW", 8)
    asked, seen = Prescription(duration_s=60, seed=3), []

    def choose(index, first, grids):
        seen.append((first, grids[1]))
        return 1

    config = dataclasses.replace(PLAIN, best_of=2)
    (whole,) = sampling.sample(bundle, [plan(asked)], [3], config, choose)
    bars = len(whole.meters)
    assert [first for first, _ in seen] == [0, *range(0, bars - 4, 4)]
    for first, grid in seen:
        stop = min(first + 8 if first or len(grid.meters) == 8 else 4, bars)
        assert len(grid.meters) == stop - first
        rows = (whole.bar >= first) & (whole.bar < stop)
        np.testing.assert_array_equal(grid.bar + first, whole.bar[rows])
        for name in ("position", "pitch", "length", "family"):
            np.testing.assert_array_equal(getattr(grid, name), getattr(whole, name)[rows])


def test_several_takes_need_somebody_to_choose(bundle):
    with pytest.raises(ValueError, match="best_of 3 needs somebody to choose"):
        sampling.sample(bundle, [plan(two_takes()[0])], [1], SamplingConfig(best_of=3))


def test_stream_logits_are_the_whole_model_s(bundle, monkeypatch):
    """The model, its twin that is not told mode and who plays, and guidance between and beyond."""
    asked = two_takes()[1:]
    laid = [plan(p) for p in asked]
    seen = []
    draw = sampling._draw

    def watched(logits, uniform, top_p):
        seen.append(logits)
        return draw(logits, uniform, top_p)

    monkeypatch.setattr(sampling, "_draw", watched)
    for guidance in (0.0, 1.0, 2.0):
        seen.clear()
        config = dataclasses.replace(PLAIN, guidance=guidance)
        (ids,) = streams(bundle, asked, config)
        ids = ids[: bundle.composer.config.context - 1].astype(np.int64)
        inputs = torch.from_numpy(np.insert(ids, 0, VOCABULARY.bos))[None]
        bar = (inputs == VOCABULARY.bar).cumsum(1).sub(1).clamp(min=0)
        conditions = torch.from_numpy(sampling._conditions(bundle, laid))
        with torch.inference_mode():
            told = bundle.composer(inputs, bar, conditions)
            conditions[..., [CONDITIONS.index("mode"), *range(-len(FAMILIES), 0)]] = FREE
            twin = bundle.composer(inputs, bar, conditions)
        wanted = twin + guidance * (told - twin)
        assert (told - twin).abs().amax() > 0.05
        for step, logits in enumerate(seen[: inputs.shape[1]]):
            kept = logits > -np.inf
            np.testing.assert_allclose(logits[kept], wanted[:, step].numpy()[kept], atol=2e-4)


def test_a_stream_longer_than_the_context_goes_on(bundle):
    asked = [Prescription(duration_s=60, seed=4)]
    (ids,) = streams(bundle, asked, PLAIN)
    assert len(ids) > 2 * bundle.composer.config.context
    assert ids[-1] == VOCABULARY.eos


def test_a_network_on_a_plan_tells_it_its_own_bars(bundle):
    asked = Prescription.from_dict({"duration_s": 30, "tempo": [50, 130], "mode": "minor"})
    laid = plan(asked)
    told = sampling._conditions(bundle, [laid])[0]
    tempo_bins = np.searchsorted([60, 90, 120], laid.bpm, side="right") + 1
    np.testing.assert_array_equal(told[:, 0], tempo_bins)
    assert (told[:, 1] == 1).all()  # the lowest of the mode bins
    np.testing.assert_array_equal(told[-3:, len(CONDITIONS)], [3, 2, 1])  # bars that remain
    assert (told[:, 2] == 0).all()  # density is open


def test_a_network_is_told_who_plays_in_each_bar(bundle):
    asked = Prescription.from_dict({"duration_s": 60, "instruments": ["flute", "harp", "piano"]})
    laid = plan(asked)
    told = sampling._conditions(bundle, [laid])[0, :, len(CONDITIONS) + 1 :]
    for bar, families in enumerate(told.tolist()):
        named = {name for name, value in zip(FAMILIES, families, strict=True) if value == SOUNDS}
        plays = zip(laid.families, laid.playing[bar], strict=True)
        assert named == {family for family, does in plays if does}
        assert families.count(SILENT) == len(FAMILIES) - len(named)
    assert not laid.playing.all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"temperature": 0.0}, r"temperature 0.0; legal are 0.05 to 5"),
        ({"top_p": 1.2}, r"top_p 1.2; legal are 0.01 to 1"),
        ({"guidance": -1.0}, r"guidance -1.0; legal are 0.0 to 10"),
    ],
)
def test_refuses_settings_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        SamplingConfig(**values)
