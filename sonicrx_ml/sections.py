"""The form of a long piece: sections that come back, each time otherwise.

A piece long enough to have one is cut into sections of whole phrases. Letters name what they are
made of: A, B, then A again, and so on; new ones come up now and then, old ones come back, the one
heard longest ago most likely, and the last section is A. A section that comes back takes up the
melody that its letter began with (`anchoring` plays it, the composer sets it anew): the first
phrase or two, never over the bars of an auditory anchor, and never the last phrase of the section.

Everything here is a function of numbers of bars, seconds and a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BARS = 16  # that a section has on average, or more [E]
SECONDS = 45.0  # that it lasts on average, or more [E]
FEWEST = 3  # sections that a form has; what is shorter is one section
MOST = 8  # letters
NEW_AFTER = 3  # sections after which something new may come up
NEW = 0.5  # chance that it does then
_STREAM = 1  # of the seed: the form is drawn apart from the notes


@dataclass(frozen=True, slots=True)
class Section:
    """Some bars of a piece, and what they take up."""

    label: str
    "Letter, and how often it has come back: A, A', A''; then A4, A5."
    first: int
    "Its first bar."
    bars: int
    source: int = -1
    "First bar of the melody that it takes up; -1 for none."
    site: int = -1
    "Bar at which it does."
    theme: int = 0
    "Bars of that melody."


def lay(
    bars: int, seconds: float, phrase: int, seed: int, taken: NDArray[np.bool_] | None = None
) -> tuple[Section, ...]:
    """The sections of a piece; one where it is too short for more.

    phrase : bars of a phrase; taken : (bars,) those where nothing can be taken up, nor from there.
    """
    phrases = bars // phrase
    count = int(min(bars / BARS, seconds / SECONDS, phrases / 2))
    if count < FEWEST:
        return (Section("A", 0, bars),)
    edges = np.append(np.arange(count) * phrases // count * phrase, bars)
    letters = _letters(count, np.random.default_rng((seed, _STREAM)))
    taken = np.zeros(bars, dtype=bool) if taken is None else taken
    found = []
    for number, letter in enumerate(letters):
        origin, times = letters.index(letter), letters[:number].count(letter)
        first, size = int(edges[number]), int(edges[number + 1] - edges[number])
        melody: tuple[int, ...] = ()
        if times:
            room = min(size, int(edges[origin + 1] - edges[origin])) - phrase
            wanted = min(room, phrase * (2 if times % 2 else 1))
            melody = _free(taken, int(edges[origin]), first, room, phrase, wanted)
        label = letter + ("'" * times if times < 3 else str(times + 1))
        found.append(Section(label, first, size, *melody))
    return tuple(found)


def melodies(form: tuple[Section, ...], bars: int) -> NDArray[np.bool_]:
    """(bars,): where a melody sounds that is taken up, or is taken up from."""
    found = np.zeros(bars, dtype=bool)
    for section in form:
        for start in (section.source, section.site):
            found[start : start + section.theme] |= section.theme > 0
    return found


def _letters(count: int, rng: np.random.Generator) -> list[str]:
    """A B ... A; no two neighbours alike."""
    letters, newest = ["A", "B"], 1
    while len(letters) < count - 1:
        known = sorted(set(letters) - {letters[-1]})
        if len(letters) == count - 2:
            known = [letter for letter in known if letter != "A"]  # it comes last
        age = np.array([letters[::-1].index(letter) for letter in known], dtype=float)
        due = len(letters) - newest >= NEW_AFTER and len(set(letters)) < MOST
        if not known or (due and rng.random() < NEW):
            newest = len(letters)
            letters.append(chr(ord("A") + len(set(letters))))
        else:
            letters.append(str(rng.choice(known, p=age / age.sum())))
    return [*letters, "A"]


def _free(
    taken: NDArray[np.bool_], source: int, site: int, room: int, phrase: int, wanted: int
) -> tuple[int, ...]:
    """Where the first bars, a phrase or more, are free at both places: source, site and number."""
    for offset in range(0, room - phrase + 1, phrase):
        size = min(wanted, room - offset)
        both = taken[source + offset :][:size] | taken[site + offset :][:size]
        free = size if not both.any() else int(both.argmax())
        if free >= phrase:
            return source + offset, site + offset, free // phrase * phrase
    return ()
