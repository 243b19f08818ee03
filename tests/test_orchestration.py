"""Re-orchestration: the same notes, other families, by role."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonicrx_ml.canonical import Gridded
from sonicrx_ml.notes import Meter
from sonicrx_ml.orchestration import ROLES, SUBSTITUTES, divide, rename, roles
from sonicrx_ml.palette import FAMILIES

NAMES = list(FAMILIES)
NOTES = st.sets(
    st.tuples(st.integers(0, 3), st.integers(0, 47), st.integers(0, 11), st.integers(40, 90)),
    min_size=1,
    max_size=60,
)


def grid(notes) -> Gridded:
    """From (bar, position, family, pitch)."""
    bar, position, family, pitch = np.array(sorted(notes)).T
    length, velocity = np.full(len(bar), 12), np.full(len(bar), 64)
    return Gridded(bar, position, length, pitch, family, velocity, (Meter(0.0, 4, 4),) * 4)


def piano_part() -> Gridded:
    """Four chords of a low and three high notes, each followed by a high note alone."""
    family = NAMES.index("piano")
    chords = [(b, 0, family, pitch) for b in range(4) for pitch in (40, 64, 67, 72)]
    return grid(chords + [(b, 24, family, 71) for b in range(4)])


def sounds(found: Gridded) -> list[tuple[int, ...]]:
    return sorted(zip(*(c.tolist() for c in (found.bar, found.position, found.pitch)), strict=True))


@pytest.mark.parametrize("change", [rename, divide])
@given(notes=NOTES, seed=st.integers(0, 99))
def test_only_families_change_and_the_order_is_kept(change, notes, seed: int) -> None:
    before = grid(notes)
    after = change(before, np.random.default_rng(seed))
    assert sounds(after) == sounds(before)
    keys = list(zip(after.bar, after.position, after.family, after.pitch, strict=True))
    assert keys == sorted(set(keys))  # in the order of `Gridded`, no key struck twice at once


@given(notes=NOTES, seed=st.integers(0, 99))
def test_a_family_is_renamed_as_a_whole_to_a_stand_in_of_its_own(notes, seed: int) -> None:
    before = grid({(b, position, f, pitch + f) for b, position, f, pitch in notes})
    after = rename(before, np.random.default_rng(seed))
    part = {f: [s for s, g in zip(sounds_of(before), before.family, strict=True) if g == f]
            for f in set(before.family)}  # fmt: skip
    parts = {f: [s for s, g in zip(sounds_of(after), after.family, strict=True) if g == f]
             for f in set(after.family)}  # fmt: skip
    assert len(part) == len(parts)
    for family, played in part.items():
        legal = {family, *map(NAMES.index, SUBSTITUTES.get(NAMES[family], ()))}
        assert any(parts[other] == played for other in legal & parts.keys())


def sounds_of(found: Gridded) -> list[tuple[int, ...]]:
    return list(zip(found.bar, found.position, found.pitch, strict=True))


def test_roles_by_hand() -> None:
    """Low note bass, top of the chord and the note alone melody, the rest inner."""
    part = piano_part()
    found = roles(part, np.arange(len(part)))
    assert found.tolist() == [0, 1, 1, 2, 2] * 4


def test_each_role_goes_to_a_family_of_its_own() -> None:
    part = piano_part()
    divided = set()
    for seed in range(60):
        after = divide(part, np.random.default_rng(seed))
        by_role = [set(after.family[np.isin(after.pitch, p)]) for p in ([40], [64, 67], [71, 72])]
        assert all(len(families) == 1 for families in by_role)
        families = [NAMES[next(iter(f))] for f in by_role]
        for name, candidates in zip(families, ROLES.values(), strict=True):
            assert name == "piano" or name in candidates
        moved = [name for name in families if name != "piano"]
        assert len(moved) == len(set(moved))
        divided.add(len(moved))
    assert divided == {0, 1, 2, 3}


def test_a_single_line_is_left_whole() -> None:
    voice = NAMES.index("voice")
    line = grid([(b, 12 * k, voice, 60 + 5 * (k % 3)) for b in range(4) for k in range(4)])
    for seed in range(20):
        assert divide(line, np.random.default_rng(seed)) is line


def test_stand_ins_are_other_families() -> None:
    for family, others in SUBSTITUTES.items():
        assert {family, *others} <= set(FAMILIES)
        assert family not in others
    assert {name for candidates in ROLES.values() for name in candidates} <= set(FAMILIES)
