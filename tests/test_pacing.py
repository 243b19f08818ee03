"""Wishes: a running sum of the phrase kept near what is asked, by hand-counted streams."""

from __future__ import annotations

import numpy as np
import pytest

from sonicrx_ml import pacing, rules
from sonicrx_ml.compose import compose
from sonicrx_ml.conformance import judge
from sonicrx_ml.plan import plan
from sonicrx_ml.prescription import CONTROLS, Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.tokens import Vocabulary

VOCABULARY = Vocabulary.build()
HEAD = ["Bar_None", "TimeSig_4/4"]


def asked(**controls):
    """Twelve seconds at 60 BPM: three bars of four beats, 48 grid positions each."""
    return plan(Prescription.from_dict({"duration_s": 12, "tempo": 60, "meter": "4/4"} | controls))


def after(names):
    state = rules.State(1, VOCABULARY)
    for name in names:
        state.update(np.array([VOCABULARY.names.index(name)]))
    return state


def note(position, *pitches, length="1.0.12"):
    program = next(name for name in VOCABULARY.names if name.startswith("Program"))
    said = [f"Position_{position}", program]
    for pitch in pitches:
        said += [f"Pitch_{pitch}", f"Duration_{length}"]
    return said


def wished(rule, names, kind):
    """Values of the tokens of a kind that the rule has nothing against."""
    allowed = np.broadcast_to(rule.allowed(after(names)), (1, len(VOCABULARY)))[0]
    return {name.split("_")[1] for name, ok in zip(VOCABULARY.names, allowed, strict=True)
            if ok and name.split("_")[0] == kind}  # fmt: skip


# ---------------------------------------------------------------- density


def test_onsets_lead_by_a_third_of_a_bar_at_most():
    pace = pacing.Pace([asked(density=1.0)])  # four a bar, so .35 x 4 = 1.4 may come early
    two = HEAD + note(0, 60) + note(1, 60)
    assert min(map(int, wished(pace, two, "Position"))) == 20  # 3 <= position / 12 + 1.4


def test_onsets_lag_by_a_third_of_a_bar_at_most():
    pace = pacing.Pace([asked(density=1.0)])
    assert max(map(int, wished(pace, HEAD, "Position"))) == 16  # 16 / 12 <= 0 + 1.4
    two = HEAD + note(0, 60) + note(1, 60)
    assert "None" not in wished(pace, two, "Bar")
    assert "None" in wished(pace, two + note(2, 60), "Bar")  # three of four


def test_the_phrase_is_counted_from_its_first_bar():
    pace = pacing.Pace([asked(density=1.0, duration_s=24)])
    bar = HEAD + [token for at in (0, 12, 24, 36) for token in note(at, 60)]
    for bars in range(6):
        due = wished(pace, bar * bars + HEAD, "Position")
        assert max(map(int, due)) == 16
    ahead = HEAD + [token for at in range(0, 36, 6) for token in note(at, 60)]
    assert min(map(int, wished(pace, ahead + HEAD, "Position"))) == 20  # 7 <= 4 + 20 / 12 + 1.4
    new_phrase = ahead + bar * 3 + HEAD
    assert min(map(int, wished(pace, new_phrase, "Position"))) == 0


def test_what_is_open_is_left_alone():
    open_plan = asked()
    state = after(HEAD + note(0, 60))
    for wish in pacing.wishes_for([open_plan]):
        assert np.broadcast_to(wish.allowed(state), (1, len(VOCABULARY))).all()


# ---------------------------------------------------------------- polyphony


def test_more_voices_are_added_until_there_are_enough():
    voices = pacing.Voices([asked(polyphony=4.0)])  # slack: .15 x 4 x 48, 28.8 positions
    one = HEAD + note(0, 60, length="2.0.12")  # 24 of the 96 wanted while it sounds
    assert not wished(voices, one, "Position")
    assert "64" in wished(voices, one, "Pitch")
    three = HEAD + note(0, 60, 64, 67, length="2.0.12")  # 72 of 96: near enough
    assert wished(voices, three, "Position")


def test_no_voice_is_added_to_too_many():
    voices = pacing.Voices([asked(polyphony=1.0)])  # slack: 7.2 positions
    assert "67" in wished(voices, HEAD + note(0, 60, length="1.0.12"), "Pitch")
    two = HEAD + note(0, 60, 64, length="1.0.12")  # 12 too many
    assert not wished(voices, two, "Pitch")
    assert wished(voices, two, "Position")


def test_lengths_are_chosen_by_what_sounds_already():
    voices = pacing.Voices([asked(polyphony=1.0)])
    over = HEAD + note(0, 48, length="2.0.12") + ["Position_12", "Pitch_60"]  # 12 more are covered
    lengths = wished(voices, over, "Duration")
    assert "0.7.12" in lengths
    assert "0.8.12" not in lengths  # 8 twice covered positions: beyond 7.2
    free = [*HEAD, "Position_0", note(0, 60)[1], "Pitch_60"]
    assert "4.0.2" in wished(voices, free, "Duration")  # alone, however long


def test_held_notes_are_counted_where_performance_sets_the_lengths():
    """Legato, three notes asked, one onset a beat: slack is .15 x 3 x 48, 21.6 positions."""
    voices = pacing.Voices([asked(polyphony=3.0, articulation=1.0, density=1.0)])
    short = "0.1.12"  # what is composed does not count
    state = after(HEAD + note(0, 60, 64, length=short) + note(12, 60, length=short))
    assert (state.bar_held[0], state.bar_spell[0], state.held()[0]) == (24, 12, 1)
    # after the next beat 24 + 12 - 3 x 24 = -36: too thin to go on
    thin = HEAD + note(0, 60, 64, length=short) + note(12, 60, length=short)
    assert not wished(voices, thin, "Position")
    assert wished(voices, thin, "Pitch")
    even = HEAD + note(0, 60, 64, 67, length=short)
    assert wished(voices, even, "Position")
    assert wished(voices, even, "Pitch")
    thick = HEAD + note(0, 60, 64, 67, 72, length=short) + note(12, 60, 64, 67, 72, length=short)
    assert not wished(voices, thick, "Pitch")  # 48 + 5 x 12 - 72 = 36
    assert wished(voices, thick, "Position")


def test_no_more_and_no_fewer_are_held_at_once_than_a_note_off():
    voices = pacing.Voices([asked(polyphony=3.0, articulation=1.0, density=4.0)])
    assert not wished(voices, HEAD + note(0, 60), "Position")  # one of three
    assert wished(voices, HEAD + note(0, 60, 64), "Position")
    assert wished(voices, HEAD + note(0, 60, 64, 67), "Pitch")
    assert not wished(voices, HEAD + note(0, 60, 64, 67, 72), "Pitch")  # four


def test_a_family_is_held_for_a_bar_or_a_whole_note_at_most():
    state = after(HEAD + note(36, 60, 64) + HEAD + ["Position_40"])  # from 36 to 84: bars of 48
    assert (state.bar_held[0], state.bar_spell[0], state.held()[0]) == (2 * 36, 36, 0)
    two = ["Bar_None", "TimeSig_2/4"]
    state = after(two + note(12, 60) + two * 2)  # from 12 to 60, of bars of 24
    assert (state.bar_held[0], state.bar_spell[0], state.held()[0]) == (0, 0, 1)
    state = after(two + note(12, 60) + two * 2 + ["Position_20"])
    assert (state.bar_held[0], state.bar_spell[0], state.held()[0]) == (12, 12, 0)


def test_what_a_note_covers_goes_on_over_the_bar_line():
    over = HEAD + note(36, 60, length="2.0.12")
    assert after(over).bar_cover[0] == 24
    state = after(over + HEAD)  # 12 positions reach into this bar
    assert state.bar_cover[0] == 0
    state.update(np.array([VOCABULARY.names.index("Position_6")]))
    np.testing.assert_array_equal(state.newly_covered(np.array([[2, 6, 8]])), [[0, 0, 2]])


# ---------------------------------------------------------------- register


def test_the_mean_pitch_is_drawn_to_the_register():
    height = pacing.Height([asked(register=60.0)])
    first = HEAD + note(0, 60)[:2]
    assert {int(p) for p in wished(height, first, "Pitch")} == set(range(38, 83))  # 2 + 20
    high = HEAD + note(0, 70, 72, 74)  # 36 in all, 12 each
    assert {int(p) for p in wished(height, high, "Pitch")} == set(range(21, 73))  # no farther off
    high += note(4, 60)[:2] + [
        token for p in (52, 53) for token in (f"Pitch_{p}", "Duration_1.0.12")
    ]
    assert max(map(int, wished(height, high, "Pitch"))) == 60 - 21 + 32  # 21 now, 6 x 5.33 then


# ---------------------------------------------------------------- key


PROGRAM = note(0, 60)[1]


def classes(rule, names):
    return {int(pitch) % 12 for pitch in wished(rule, [*names, "Position_47", PROGRAM], "Pitch")}


def test_a_key_that_comes_near_is_answered():
    """F major is heard where C major is asked: F, A and Bb wait, C, E, G and B do not."""
    home = pacing.Home([asked(key="D", mode="major")])
    towards_f = HEAD + note(0, 53, 57, 60) + note(12, 53, 58, 65) + note(24, 53, 57, 60)
    assert classes(home, towards_f).isdisjoint({5, 9, 10})
    assert classes(home, towards_f) >= {0, 4, 7, 11}
    assert len(classes(pacing.Home([asked()]), towards_f)) == 12  # no key is asked


def test_in_a_clear_key_every_pitch_may_sound():
    clear = HEAD + note(0, 48, 52, 55) + note(12, 53, 57) + note(24, 55, 59, 62)
    clear += note(36, 48, 52, 55, length="2.0.12")
    assert len(classes(pacing.Home([asked(key="D", mode="major")]), clear)) == 12
    assert len(classes(pacing.Home([asked(key="D", mode="minor")]), clear)) < 12


def test_what_sounded_long_ago_counts_for_less():
    state = after(HEAD + note(0, 60) + HEAD + HEAD)
    assert state.recent_BC[0, 0] == pytest.approx(12 * 0.9**2)


def test_notes_outside_the_scale_come_where_their_share_is_behind():
    colour = pacing.Colour([asked(key="D", mode="major", chromaticism=0.2)])
    plain = HEAD + note(0, 60, 64, 67, length="4.0.2")  # 144 positions, 28.8 due
    assert classes(colour, plain) == {1, 3, 6, 8, 10}
    assert classes(colour, plain + note(36, 66) + note(42, 66)) == {1, 3, 6, 8, 10}  # 24 of 33.6
    assert len(classes(colour, plain + [n for at in (36, 40, 44) for n in note(at, 66)])) == 12
    free = pacing.Colour([asked(key="D", mode="major")])
    assert len(classes(free, plain)) == 12


# ---------------------------------------------------------------- all together


def test_tracks_come_nearer_and_none_is_stuck(bundle, monkeypatch):
    """A network that has learned nothing, asked for what it would never do."""
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 60)
    told = Prescription.from_dict(
        {"duration_s": 40, "tempo": 60, "density": [1, 3], "polyphony": 2.5, "register": [70, 55],
         "instruments": ["piano", "flute"]}
    )  # fmt: skip

    def errors(paced):
        (made,) = compose([told], bundle, SamplingConfig(paced=paced))
        found = {v.attribute: v.error for v in judge(told, made.midi, None).verdicts}
        return np.array([found[name] for name in ("density", "polyphony", "register")])

    assert (errors(True) < errors(False)).all()
    assert (errors(True) < [25, 35, 4]).all()


def test_no_onset_is_piled_up_where_density_falls(bundle, monkeypatch):
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 60)
    told = [
        Prescription.from_dict(
            {"duration_s": 16, "tempo": 70, "density": [6, 0.3], "polyphony": 2, "seed": seed}
        )
        for seed in range(3)
    ]
    for made in compose(told, bundle):  # unheld, up to 18 notes
        _, notes = np.unique(made.notes.onset.round(6), return_counts=True)
        assert notes.max() <= 2 * (2 + pacing.CHORD)


@pytest.mark.parametrize("name", ["density", "polyphony", "register"])
def test_the_extremes_are_survived(bundle, monkeypatch, name):
    monkeypatch.setattr(rules, "TOKENS_PER_BAR", 60)
    legal = CONTROLS[name]
    both = [
        Prescription.from_dict({"duration_s": 15, name: end}) for end in (legal.low, legal.high)
    ]
    assert all(len(made.notes) for made in compose(both, bundle))
