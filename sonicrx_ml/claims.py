"""What SonicRx says of each goal, and what it never says: the claims page, and the words forbidden.

The wording lives in `claims.toml`, the goals' evidence in `goals.toml`; both are read strictly.
`python -m sonicrx_ml.claims` prints the page that is kept as `docs/claims.md`.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any

from sonicrx_ml.curve import Curve
from sonicrx_ml.goals import Evidence, Fit, Parameter, library

BETWEEN = r"[\s\u2010-\u2013-]{0,3}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A popular claim that is not made, what is known, and what is said in its place."""

    never_says: str
    known: str
    says: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Wording:
    """All of `claims.toml`; in `never_says`, `*` is any ending, `a|b` one, `?a|b` one or none."""

    says: tuple[str, ...]
    never_says: tuple[str, ...]
    claims: tuple[Claim, ...]

    @property
    def pattern(self) -> re.Pattern[str]:
        """What finds a forbidden word; any space, hyphen or line break may part two words."""
        found = ("".join(map(_word, said.split())) for said in self.never_says)
        ways = "|".join(words.removeprefix(BETWEEN) for words in found)
        return re.compile(rf"\b(?:{ways})\b", re.IGNORECASE)


def _word(told: str) -> str:
    """A word of what is never said, as a pattern; it begins with what may part it from the last."""
    ways = "|".join(re.escape(way) for way in told.removeprefix("?").split("|"))
    found = rf"{BETWEEN}(?:{ways})".replace(r"\*", r"\w*")
    return rf"(?:{found}\b)?" if told.startswith("?") else found


@functools.cache
def wording() -> Wording:
    """The wording that ships with the package."""
    text = resources.files(__package__).joinpath("claims.toml").read_text(encoding="utf-8")
    data = tomllib.loads(text)
    return Wording(
        says=tuple(data["says"]),
        never_says=tuple(word for words in data["never_says"].values() for word in words),
        claims=tuple(Claim(**claim) for claim in data["claims"]),
    )


def forbidden(text: str) -> list[str]:
    """The forbidden words of a text, in its order; empty for a text that may be shown.

    A line that quotes the rule, by "never says", may have them.
    """
    free = [line for line in text.splitlines() if not re.search(r"never[ _]says", line)]
    return [found[0] for found in wording().pattern.finditer("\n".join(free))]


# ---------------------------------------------------------------- the page


def page() -> str:
    """The claims page, in Markdown."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    said, known = wording(), library()
    yield from ("# What SonicRx says, and what it never says", "")
    yield "Made from `sonicrx_ml/goals.toml` and `sonicrx_ml/claims.toml` by"
    yield from ("`python -m sonicrx_ml.claims`; a test holds the two to be the same.", "")
    yield from (f"- {sentence}" for sentence in said.says)
    quoted = ", ".join(f'"{_quoted(word)}"' for word in said.never_says)
    yield from (f"- It never says {quoted}, in any text shown to anybody.", "")
    yield from ("Strength of evidence:", "")
    yield from (f"- **{mark}** {meaning}" for mark, meaning in known.strengths.items())
    yield from ("", "## What is not claimed, and why", "")
    for claim in said.claims:
        yield f'- It never says {claim.never_says}. {claim.known} It says: "{claim.says}".'
    yield from ("", "## What is said of each goal", "")
    for evidence in known.goals.values():
        yield from _goal(evidence)
    yield from ("## Sources", "")
    yield from (f"- {name}: {showed}" for name, showed in known.sources.items())


def _quoted(said: str) -> str:
    """What is never said, to be read: alternatives by a slash, what may be missing in brackets."""
    words = (f"({word[1:]})" if word.startswith("?") else word for word in said.split())
    return " ".join(words).replace("*", "…").replace("|", "/")


def _goal(evidence: Evidence) -> Iterator[str]:
    yield from (f"### `{evidence.goal}`: {evidence.title} ({evidence.strength})", "")
    yield f"{evidence.claim} {evidence.caution} [{'; '.join(evidence.citations)}]"
    yield from ("", "| parameter | value | reason | sources | mark |", "|---|---|---|---|---|")
    for parameter in evidence.parameters:
        yield _row(parameter.name, _shown(parameter.value), parameter)
        if parameter.listener:
            yield _row(f"{parameter.name}, known listener", _followed(parameter.listener),
                       parameter.listener)  # fmt: skip
    yield ""


def _row(name: str, value: str, marked: Parameter | Fit) -> str:
    sources = "; ".join(marked.citations) or "–"
    return f"| {name} | {value} | {marked.reason} | {sources} | {marked.strength} |"


def _followed(fit: Fit) -> str:
    return f"{fit.baseline.replace('_', ' ')}, {fit.low:g} to {fit.high:g}"


def _shown(value: Any) -> str:
    if isinstance(value, Curve):
        levels = [level for _, level in value.points]
        if len(set(levels)) == 1:
            return f"{levels[0]:g}"
        return ", ".join(f"{level:g} at {100 * x:g} %" for x, level in value.points)
    if isinstance(value, float):
        return f"{value:g}"
    return ", ".join(value) if isinstance(value, tuple) else f"{value}"


if __name__ == "__main__":
    print(page(), end="")
