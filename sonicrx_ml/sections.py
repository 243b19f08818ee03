"""The form of a piece: sections that come back, each time otherwise, and phrases within them.

A piece long enough to have one is cut into sections of whole phrases. Letters name what they are
made of: A, B, then A again, and so on; new ones come up now and then, old ones come back, the one
heard longest ago most likely, and the last section is A. A section that comes back takes up the
melody that its letter began with (`anchoring` plays it, the composer sets it anew): the first
phrase or two, never over the bars of an auditory anchor, and never the last phrase of the section.

Within a section every third of four phrases is as the first was but for its last bar (a b a' c).

Everything here is a function of numbers of bars, seconds and a seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Flags = NDArray[np.bool_]

BARS = 16  # that a section has on average, or more [E]
SECONDS = 45.0  # that it lasts on average, or more [E]
FEWEST = 3  # sections that a form has; what is shorter is one section
MOST = 8  # letters
NEW_AFTER = 3  # sections after which something new may come up
NEW = 0.5  # chance that it does then
_STREAM = 1  # of the seed: the form is drawn apart from the notes


@dataclass(frozen=True, slots=True)
class Section:
    """Some bars of a piece."""

    label: str
    "Letter, and how often it has come back: A, A', A''; then A4, A5."
    first: int
    "Its first bar."
    bars: int

    @property
    def stop(self) -> int:
        return self.first + self.bars


@dataclass(frozen=True, slots=True)
class Return:
    """A melody that is heard again."""

    source: int
    "Its first bar."
    site: int
    "The bar at which it comes back."
    bars: int


def lay(bars: int, seconds: float, phrase: int, seed: int) -> tuple[Section, ...]:
    """The sections of a piece; one where it is too short for more. phrase : bars of a phrase."""
    phrases = bars // phrase
    count = int(min(bars / BARS, seconds / SECONDS, phrases / 2))
    if count < FEWEST:
        return (Section("A", 0, bars),)
    edges = np.append(np.arange(count) * phrases // count * phrase, bars)
    letters = _letters(count, np.random.default_rng((seed, _STREAM)))
    found = []
    for number, letter in enumerate(letters):
        times = letters[:number].count(letter)
        label = letter + ("'" * times if times < 3 else str(times + 1))
        found.append(Section(label, int(edges[number]), int(edges[number + 1] - edges[number])))
    return tuple(found)


def of_sections(form: tuple[Section, ...], phrase: int, taken: Flags) -> tuple[Return, ...]:
    """What sections take up of the first of their letter.

    taken : (bars,) those where nothing can be taken up, nor from there.
    """
    found = []
    letters = [section.label[0] for section in form]
    for number, section in enumerate(form):
        letter = section.label[0]
        origin, times = form[letters.index(letter)], letters[:number].count(letter)
        room = min(section.bars, origin.bars) - phrase
        wanted = min(room, phrase * (2 if times % 2 else 1))
        if times:
            found += _free(taken, origin.first, section.first, room, phrase, wanted)
    return tuple(found)


def of_phrases(
    form: tuple[Section, ...], phrase: int, taken: Flags, others: tuple[Return, ...] = ()
) -> tuple[Return, ...]:
    """What phrases take up of one of the same section; `taken` as in `of_sections`.

    others : what comes back already; nothing else does there.
    """
    found, size = [], phrase - 1
    busy = taken.copy()
    for back in others:
        busy[back.site : back.site + back.bars] = True
    for section in form:
        for source in range(section.first, section.stop - 3 * phrase, 4 * phrase):
            site = source + 2 * phrase
            if not (taken[source:][:size] | busy[site:][:size]).any():
                found.append(Return(source, site, size))
    return tuple(found)


def melodies(returns: tuple[Return, ...], bars: int) -> Flags:
    """(bars,): where a melody sounds that is taken up, or is taken up from."""
    found = np.zeros(bars, dtype=bool)
    for back in returns:
        for start in (back.source, back.site):
            found[start : start + back.bars] = True
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
    taken: Flags, source: int, site: int, room: int, phrase: int, wanted: int
) -> list[Return]:
    """The first bars, a phrase or more, that are free at both places; none where there are none."""
    for offset in range(0, room - phrase + 1, phrase):
        size = min(wanted, room - offset)
        both = taken[source + offset :][:size] | taken[site + offset :][:size]
        free = size if not both.any() else int(both.argmax())
        if free >= phrase:
            return [Return(source + offset, site + offset, free // phrase * phrase)]
    return []
