"""A listener's profile: read strictly, under a pseudonym, with possible values only."""

from __future__ import annotations

import json
import runpy
import sys

import pytest

from sonicrx_ml import listener, motifs, screening
from sonicrx_ml.listener import Listener
from sonicrx_ml.palette import PALETTE


def test_json_round_trip():
    example = listener.example()
    assert Listener.from_json(example.to_json()) == example
    bare = Listener(id="P1")
    assert json.loads(bare.to_json()) == {"id": "P1"}
    assert Listener.from_json('{"id": "P1"}') == bare


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"id": "Anna Meier 2"},
            r"id 'Anna Meier 2'; legal are pseudonyms of up to 32 letters",
        ),
        ({"id": "anna"}, r"id 'anna'; legal are .* a digit among them: never a name"),
        ({"id": "../P07"}, r"id '../P07'; legal are"),
        ({"id": "P07\n"}, r"id 'P07\\n'; legal are"),
        ({"id": 7}, r"id 7; legal are"),
        ({}, r"id is required; legal are"),
        ({"name": "Anna"}, r"unknown field 'name'; legal are id, heart_rate, breathing_rate"),
        ({"heart_rate": 20}, r"heart_rate 20; legal are 30 to 200 beats/min"),
        ({"heart_rate": "78"}, r"heart_rate '78'; legal are"),
        ({"heart_rate": True}, r"heart_rate True; legal are"),
        ({"breathing_rate": 60}, r"breathing_rate 60; legal are 4 to 40 breaths/min"),
        ({"cadence": 250}, r"cadence 250; legal are 40 to 190 steps/min"),
        ({"spontaneous_tempo": 0}, r"spontaneous_tempo 0; legal are 30 to 200 BPM"),
        ({"safe_level_db_spl": 100}, r"safe_level_db_spl 100; legal are 40 to 85 dB SPL"),
        ({"likes": ["kazoo"]}, r"likes 'kazoo'; legal are piano, electric_piano"),
        ({"likes": ["pad"]}, r"likes 'pad'; legal are piano"),
        ({"dislikes": "harp"}, r"dislikes 'harp'; legal is a list of piano, bells"),
        ({"trigger_sounds": ["siren"]}, r"trigger_sounds 'siren'; legal are piano, bells"),
        ({"likes": ["cello"], "dislikes": ["strings"]}, r"likes 'cello', which is disliked"),
        ({"screening": {"gout": True}}, r"screening 'gout'; legal are musicogenic_epilepsy"),
        ({"screening": {"mania": "no"}}, r"screening mania 'no'; legal are true and false"),
        ({"screening": []}, r"screening \[\]; legal are answers to musicogenic_epilepsy"),
        (
            {"anchor": "the song of our wedding"},
            r"anchor 'the song .*legal are a motif; or, beside the profile",
        ),
    ],
)
def test_what_is_illegal_is_refused_with_what_is_legal(values, said):
    given = values if not values or "id" in values else {"id": "P07"} | values
    with pytest.raises(ValueError, match=f"^{said}"):
        Listener.from_json(json.dumps(given))


def test_a_profile_is_an_object():
    with pytest.raises(ValueError, match="a listener is a JSON object, not list"):
        Listener.from_json("[]")


@pytest.mark.parametrize("anchor", ["P07", "motifs/P07.mid", "my motif.midi", "P07.motif.json"])
def test_an_anchor_may_be_named_by_an_id_or_a_file(anchor):
    assert Listener(id="P07", anchor=anchor).anchor == anchor


def test_a_profile_carries_its_motif():
    motif = motifs.composed(3)
    who = Listener(id="P07", anchor=motif)
    assert Listener.from_json(who.to_json()) == who
    assert who.motif == motif
    with pytest.raises(ValueError, match="anchor bars 99; legal is a whole number 2 to 8"):
        Listener.from_json(json.dumps({"id": "P07", "anchor": motif.to_dict() | {"bars": 99}}))


def test_a_profile_is_read_with_the_motif_that_it_names(tmp_path):
    motif = motifs.composed(3)
    (tmp_path / "P07.motif.json").write_text(motif.to_json())
    for named in ("P07", "P07.motif.json"):
        (tmp_path / "mine.json").write_text(json.dumps({"id": "P07", "anchor": named}))
        assert motifs.profile(tmp_path / "mine.json").motif == motif
    (tmp_path / "mine.json").write_text(json.dumps({"id": "P07"}))
    assert motifs.profile(tmp_path / "mine.json").motif is None
    (tmp_path / "mine.json").write_text(json.dumps({"id": "P07", "anchor": "P08"}))
    with pytest.raises(ValueError, match=r"P08.motif.json: No such file .*legal is a MIDI or JSON"):
        motifs.profile(tmp_path / "mine.json")
    for elsewhere in ("../P07.motif.json", "/etc/passwd.json"):
        (tmp_path / "mine.json").write_text(json.dumps({"id": "P07", "anchor": elsewhere}))
        with pytest.raises(ValueError, match="legal are files beside the profile"):
            motifs.profile(tmp_path / "mine.json")


@pytest.mark.parametrize(
    ("name", "means"),
    [
        ("strings", {"violin", "viola", "cello", "pizzicato", "strings", "slow_strings"}),
        ("cello", {"cello"}),
        ("choir", {"choir", "choir_pad"}),
        ("bells", {"celesta", "glockenspiel", "music_box", "vibraphone", "marimba"}),
        ("organ", {"organ", "reed_organ", "accordion"}),
    ],
)
def test_a_disliked_name_means_its_family_and_what_is_named_after_it(name, means):
    assert set(screening.like(name)) == means
    assert set(Listener(id="P1", dislikes=(name,)).barred) == means


def test_every_sound_can_be_disliked():
    assert all(screening.like(name) for name in screening.sounds())
    assert set(PALETTE) <= set(screening.sounds())


def test_the_vocabulary_is_printed(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["listener"])
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):  # it is imported already
        runpy.run_module("sonicrx_ml.listener", run_name="__main__")
    printed = capsys.readouterr().out
    for name, known in listener.MEASURES.items():
        (line,) = (line for line in printed.splitlines() if line.startswith(f"{name} "))
        assert known.unit in line
        assert f"{known.low:g} to {known.high:g}" in line
    assert all(item.question in printed for item in screening.items().values())
    assert Listener.from_json(printed.partition("Example:")[2]) == listener.example()
    assert max(map(len, printed.splitlines())) <= 140


def test_the_example_is_printed_alone(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["listener", "--example"])
    with pytest.warns(RuntimeWarning, match="found in sys.modules"):
        runpy.run_module("sonicrx_ml.listener", run_name="__main__")
    assert Listener.from_json(capsys.readouterr().out) == listener.example()


# ---------------------------------------------------------------- screening.toml


ITEM = """
[vertigo]
question = "?"
needs = "clinician"
warning = "!"
strength = "E"
goals = ["motor"]
never = ["organ"]
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"clinician"', '"luck"', "vertigo: needs 'luck'; legal are clinician, refused, caution"),
        ('"E"', '"Z"', "vertigo: strength 'Z'; legal are A, B, C, X, E"),
        ('"motor"', '"joy"', "vertigo: goals 'joy'; legal are anxiety"),
        ('"organ"', '"siren"', "vertigo: never 'siren'; legal are piano"),
        ("goals =", "max_playback_db_spl = 120\ngoals =", "playback_db_spl 120; legal are 40 to"),
    ],
)
def test_a_broken_item_is_refused_at_load(old, new, said):
    assert screening.parse(ITEM)["vertigo"].concerns("motor")
    assert old in ITEM
    with pytest.raises(ValueError, match=said):
        screening.parse(ITEM.replace(old, new))
