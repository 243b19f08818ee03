"""Sampling: a batch of bar plans to notes, token by token, under rules.

Shapes: B streams, V vocabulary, K bars, A conditions, L layers, D width.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sonicrx_ml import rules, themes
from sonicrx_ml.anchoring import Anchor, anchored
from sonicrx_ml.arriving import arrivals_for
from sonicrx_ml.canonical import Gridded
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.inference import Decoder
from sonicrx_ml.joins import joins_for
from sonicrx_ml.labels import FREE, SILENT, SOUNDS, condition_names, remaining_bucket
from sonicrx_ml.pacing import wishes_for
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import PHRASE, BarPlan
from sonicrx_ml.tokens import BAR, DURATION, EOS, METER, PAD, Ids, Vocabulary, decode

_log = logging.getLogger(__name__)

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

WINDOW = 16 * PHRASE  # latest bars that takes are chosen by: the cost of a phrase is constant
OVERRUN_TOKENS = 20  # of a bar, beyond what the rules hold it to: room for a melody to end
OVERRUN_BARS = 4  # bars past the asked number after which a raw stream is cut
_GUIDED = np.isin(condition_names(), ("mode", *FAMILIES))  # (A,)


@dataclass(kw_only=True, slots=True)
class SamplingConfig:
    """How tokens are drawn."""

    temperature: float = 1.0
    top_p: float = 0.93
    """Draw from the smallest set of tokens that holds this probability, of what the rules leave:
    what they leave is often the network's tail, whose own tail is not music."""
    guidance: float = 1.0
    """Classifier-free guidance towards key and palette: a twin is told all but mode and who plays,
    and what the composer does otherwise than its twin is exaggerated, at twice the cost. 1 is the
    plain model. What it costs and gains: docs/log.md."""
    masked: bool = True
    """False leaves the grammar, and the meter, of which a token alone tells the network: palette,
    number of bars, register, scale and ending are its own. Tempo, key and the second of the end are
    written in performance all the same."""
    paced: bool = True
    """With the rules, keep density, polyphony and register near what is asked (see `pacing`)."""
    best_of: int = 1
    """Takes of each phrase; the one goes on that is nearest to what is asked, by the judge's
    measures on its notes (`conformance.deviation`)."""
    memory: int = 512
    """Latest tokens that the composer attends to, at most its context. More cost time in
    proportion, and are worth little: docs/log.md."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature", 0.05, 5.0),
            ("top_p", 0.01, 1.0),
            ("guidance", 0.0, 10.0),
            ("best_of", 1, 1000),
            ("memory", 64, 65_536),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)}; legal are {low} to {high}")


Seed: TypeAlias = int | tuple[int, int]
Choose: TypeAlias = Callable[[int, int, Sequence[Gridded]], int]
"""Which take of a plan goes on, given the plan's number, and the bars of each take from a first bar
on: all so far, or the latest `WINDOW`."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """Music that stands before a plan's first bar: the composer hears it and goes on."""

    ids: Ids
    """Tokens of whole bars, from `BOS` where it is the beginning of a piece."""
    conditions_KA: Ints
    """Of its bars."""


# ---------------------------------------------------------------- from plans to streams


def sample(
    bundle: Bundle,
    plans: Sequence[BarPlan],
    seeds: Sequence[Seed],
    config: SamplingConfig,
    choose: Choose | None = None,
    given: Sequence[Given | None] = (),
) -> list[Gridded]:
    """Compose every plan in one batch; see `stream`."""
    parts: list[list[Ids]] = [[] for _ in plans]
    for index, ids in stream(bundle, plans, seeds, config, choose, given):
        parts[index].append(ids)
    return [joined(part, bundle.vocabulary) for part in parts]


def joined(parts: Sequence[Ids], vocabulary: Vocabulary) -> Gridded:
    """The whole bars of a plan's stream, from what `stream` has given of it so far."""
    return decode(_whole_bars(np.concatenate(parts), vocabulary), vocabulary)


def stream(
    bundle: Bundle,
    plans: Sequence[BarPlan],
    seeds: Sequence[Seed],
    config: SamplingConfig,
    choose: Choose | None = None,
    given: Sequence[Given | None] = (),
) -> Iterator[tuple[int, Ids]]:
    """The next bars of a plan, by the plan's number, until every piece has ended.

    Each plan is composed by `config.best_of` takes, all in one batch. At the end of each phrase of
    `PHRASE` bars the takes of a plan wait for each other, `choose` says which goes on, and the
    others become copies of it. Take t of plan i depends on the plan, seed i, t and what is `given`
    before it alone; what is given is not part of what comes out.
    """
    if config.best_of > 1 and choose is None:
        raise ValueError(f"best_of {config.best_of} needs somebody to choose; legal is 1")
    takes = _Takes(bundle, plans, seeds, config)
    for index, before in enumerate(given):
        if before is not None:
            takes.hear(index, before)
    while takes.step():
        for index in takes.arrived():
            rows = takes.rows(index)
            chosen = 0
            if choose and len(rows) > 1:
                chosen = choose(index, takes.first(index), [takes.grid(row) for row in rows])
            yield index, takes.settle(index, chosen)
    if yielded := takes.state.yielded[:: takes.count].sum():  # all takes are the chosen one now
        _log.warning("rules contradicted each other and yielded %d times; see the report", yielded)


def bounds(
    plans: Sequence[BarPlan], vocabulary: Vocabulary, config: SamplingConfig
) -> tuple[list[rules.Rule], list[rules.Rule]]:
    """Rules (the first holds the grammar) and wishes that the plans' streams are drawn under."""
    if not config.masked:
        return rules.raw_rules_for(plans, vocabulary), []
    held = rules.rules_for(plans, vocabulary)
    arrivals, clear = arrivals_for(plans)
    wishes = [*clear, *joins_for(plans), *wishes_for(plans)] if config.paced else []
    held, wishes = anchored(held, wishes, plans)
    return [*held, *arrivals], wishes


class _Takes:
    """The streams of all takes of all plans; take t of plan i is stream i x best_of + t."""

    def __init__(
        self,
        bundle: Bundle,
        plans: Sequence[BarPlan],
        seeds: Sequence[Seed],
        config: SamplingConfig,
    ) -> None:
        self.vocabulary, self.config = bundle.vocabulary, config
        self.count = config.best_of
        laid = [plan for plan in plans for _ in range(self.count)]
        self.plans = plans
        self.rules, self.wishes = bounds(laid, self.vocabulary, config)
        self.anchor = next((rule for rule in self.rules if isinstance(rule, Anchor)), None)
        self.state = rules.State(len(laid), self.vocabulary)
        decoder = bundle.decoder(config.memory)
        self.network = _Network(decoder, _conditions(bundle, laid), config.guidance)
        self.rngs = [np.random.default_rng((seed, take) if take else seed)
                     for seed in seeds for take in range(self.count)]  # fmt: skip
        self.limit = np.array([len(plan) + OVERRUN_BARS for plan in laid])
        held = rules.TOKENS_PER_BAR + OVERRUN_TOKENS
        self.bar_limit = held if config.masked else decoder.config.context
        """Tokens of a bar beyond which a stream has lost all sense of bars, and is cut."""
        self.goal = np.full(len(laid), PHRASE)
        """Bar at whose bar line each stream waits."""
        self.ids = np.full(len(laid), self.vocabulary.bos)
        self.written: list[list[int]] = [[] for _ in laid]
        """Tokens of each stream since its plan was last settled."""
        self.phrases: list[list[Ids]] = [[] for _ in plans]
        """Settled phrases that are still looked back on; each ends with the next one's bar line."""
        self.settled = [0] * len(plans)
        """Number of phrases."""
        self.open = set(range(len(plans)))

    def hear(self, index: int, given: Given) -> None:
        """Have all takes of a plan, before their first token, go on from what is given."""
        rows = np.array(self.rows(index))
        self.network.hear(rows, given.ids[:-1], self.vocabulary.kind, given.conditions_KA)
        self.ids[rows] = int(given.ids[-1])

    @property
    def ended(self) -> Flags:
        return (self.state.kind == EOS) | (self.state.bar >= self.limit)

    @property
    def waiting(self) -> Flags:
        """(B,): ended, or at the bar line of its goal, or beyond any sense of bars."""
        full = self.state.bar_tokens > self.bar_limit
        return self.ended | full | (self.state.bar >= self.goal)

    def step(self) -> bool:
        """One more token of every stream that is not waiting; False where no piece is open."""
        if not self.open:
            return False
        live = ~self.waiting
        state, config = self.state, self.config
        logits_BV = self.network.step(self.ids, state.bar.clip(0), live) / self.temperature()
        allowed_BV = rules.narrowed(self.rules[0].allowed(state), self.rules[1:], state)
        for wish in self.wishes:
            kept_BV = allowed_BV & wish.allowed(state)
            allowed_BV = np.where(kept_BV.any(axis=1, keepdims=True), kept_BV, allowed_BV)
        allowed_BV = np.where(live[:, None], allowed_BV, state.kind_V == PAD)
        alive = live.tolist()
        uniform = np.array([rng.random() if on else 0.0
                            for rng, on in zip(self.rngs, alive, strict=True)])  # fmt: skip
        drawn = _draw(np.where(allowed_BV, logits_BV, -np.inf), uniform, config.top_p)
        state.update(drawn)
        self.ids = np.where(live, drawn, self.ids)
        for written, token, on in zip(self.written, drawn.tolist(), alive, strict=True):
            if on:
                written.append(token)
        return True

    def temperature(self) -> Floats:
        """(B, 1), or broadcastable to it: of each stream, in its bar."""
        asked = np.full((1, 1), self.config.temperature, np.float32)
        if self.anchor is None:
            return asked
        return asked * rules.of_bar(self.anchor.temperature_BK, self.state.bar)[:, None]

    def rows(self, index: int) -> range:
        return range(index * self.count, (index + 1) * self.count)

    def arrived(self) -> list[int]:
        """Open plans whose takes all wait."""
        waiting = np.all(self.waiting.reshape(-1, self.count), axis=1)
        return [index for index in sorted(self.open) if waiting[index]]

    def first(self, index: int) -> int:
        """The first bar of a plan that is still looked back on."""
        return PHRASE * (self.settled[index] - len(self.phrases[index]))

    def grid(self, row: int) -> Gridded:
        """The whole bars that a stream has composed, from `first` on."""
        index = row // self.count
        head = [self.vocabulary.bar] if self.first(index) > 0 else []
        parts = (head, *self.phrases[index], self.written[row])
        ids = np.concatenate([np.array(part, dtype=np.uint16) for part in parts])
        return decode(_whole_bars(ids, self.vocabulary), self.vocabulary)

    def settle(self, index: int, take: int) -> Ids:
        """Let a take of a plan go on, alone of its kind; what it has added since the last time."""
        rows = self.rows(index)
        chosen = rows[take]
        others = np.array([row for row in rows if row != chosen], dtype=np.int64)
        if len(others):
            self.state.copy(chosen, others)
            self.network.copy(chosen, others)
            self.ids[others] = self.ids[chosen]
        new = np.array(self.written[chosen], dtype=np.uint16)
        for row in rows:
            self.written[row] = []
        self.phrases[index] = [*self.phrases[index], new][1 - WINDOW // PHRASE :]
        self.settled[index] += 1
        self._take_up(index)
        self.goal[rows.start : rows.stop] += PHRASE
        if self.waiting[chosen]:
            self.open.discard(index)
            self.network.drop(rows)
        return new

    def _take_up(self, index: int) -> None:
        """Lay the melodies whose last bar has just been settled, wherever they come back."""
        done, plan, rows = PHRASE * self.settled[index], self.plans[index], self.rows(index)
        due = [back for back in plan.returns if 0 <= done - back.source - back.bars < PHRASE]
        if not due or self.anchor is None:
            return
        first, grid = self.first(index), self.grid(rows[0])
        for back in due:
            bars = back.source - first, back.source + back.bars - first
            line = themes.top_line(grid, *bars, plan.families[0])
            line = themes.taken_up(line, plan, back)
            if len(line):
                self.anchor.take_up(rows, back.site, line)


class _Network:
    """The composer with its cache; guidance runs a twin of each stream beside it that is not told
    what it guides towards.

    Streams that are done with are dropped from the network's batch.
    """

    def __init__(self, decoder: Decoder, conditions_BKA: Ints, guidance: float) -> None:
        self.decoder, self.guidance = decoder, guidance
        self.place_B = np.arange(len(conditions_BKA))
        """Where each stream is in the network's batch; -1 where it is not."""
        self.copies = 1 if guidance == 1.0 else 2
        if self.copies == 2:
            conditions_BKA = np.concatenate([conditions_BKA, _of_twin(conditions_BKA)])
        self.injected_LBKD = decoder.inject(conditions_BKA)
        self.cache = decoder.new_cache(len(conditions_BKA))

    def step(self, ids_B: Ints, bar_B: Ints, live_B: Flags) -> Floats:
        """Logits (B, V) of the next token of the live streams; the others stay as they are."""
        kept = self.place_B >= 0
        bar = np.tile(bar_B[kept].clip(max=self.injected_LBKD.shape[2] - 1), self.copies)
        found_BV = self.decoder.step(
            np.tile(ids_B[kept], self.copies),
            self.injected_LBKD[:, np.arange(len(bar)), bar],
            self.cache,
            np.tile(live_B[kept], self.copies),
        )
        told, twin = found_BV[: kept.sum()], found_BV[-kept.sum() :]
        logits_BV = np.zeros((len(kept), found_BV.shape[1]), np.float32)
        logits_BV[kept] = twin + self.guidance * (told - twin) if self.copies == 2 else told
        return logits_BV

    def hear(self, rows: Ints, ids: Ids, kind_V: Ints, conditions_KA: Ints) -> None:
        """Let streams take in tokens of bars that have conditions of their own."""
        told_LKD = self.decoder.inject(conditions_KA[None])[:, 0]
        twin_LKD = self.decoder.inject(_of_twin(conditions_KA)[None])[:, 0]
        size = len(self.cache.length_B) // self.copies
        live = np.zeros(size * self.copies, dtype=bool)
        injected_LBD = np.zeros((len(told_LKD), len(live), told_LKD.shape[2]), np.float32)
        bars = (np.cumsum(kind_V[ids] == BAR) - 1).clip(0)
        for token, bar in zip(ids.tolist(), bars.tolist(), strict=True):
            for twin, source in enumerate((told_LKD, twin_LKD)[: self.copies]):
                at = self.place_B[rows] + twin * size
                live[at], injected_LBD[:, at] = True, source[:, None, bar]
            self.decoder.step(np.full(len(live), token), injected_LBD, self.cache, live)

    def copy(self, source: int, targets: Ints) -> None:
        """Streams `targets` become what stream `source` is; they are of the same plan."""
        size = len(self.cache.length_B) // self.copies
        for twin in range(self.copies):
            place = self.place_B + twin * size
            self.cache.copy(int(place[source]), place[targets])

    def drop(self, rows: range) -> None:
        """Streams that take no step any more."""
        kept = np.ones(len(self.cache.length_B) // self.copies, dtype=bool)
        kept[self.place_B[list(rows)]] = False
        self.place_B[list(rows)] = -1
        on = self.place_B >= 0
        self.place_B[on] = np.arange(on.sum())
        both = np.tile(kept, self.copies)
        self.injected_LBKD = self.injected_LBKD[:, both]
        self.cache.keep(both)


def _conditions(bundle: Bundle, plans: Sequence[BarPlan]) -> Ints:
    """(B, K, A): the plans' targets in the bundle's bins; bars past the end are as the last."""
    bars = max(len(plan) for plan in plans)
    families_BKF = np.where(rules.playing_families(plans), SOUNDS, SILENT)
    rows = []
    for index, plan in enumerate(plans):
        major = {"major": 1.0, "minor": 0.0, None: np.nan}[plan.mode]
        values = {**plan.targets, "mode": np.full(len(plan), major)}
        families_KF = families_BKF[index, : len(plan)]
        row = np.column_stack(
            [bundle.bins.digitize(values), remaining_bucket(plan.remaining), families_KF]
        )
        rows.append(np.pad(row, ((0, bars - len(plan)), (0, 0)), mode="edge"))
    return np.stack(rows)


def _of_twin(conditions: Ints) -> Ints:
    """The same conditions (..., A) with all that guidance leads towards free."""
    found = conditions.copy()
    found[..., _GUIDED] = FREE
    return found


def _draw(logits_BV: NDArray[np.floating], uniform_B: NDArray[np.float64], top_p: float) -> Ints:
    """Inverse-transform draw from the smallest set of tokens that holds `top_p`."""
    order_BV = np.argsort(-logits_BV, axis=1, kind="stable")
    sorted_BV = np.take_along_axis(logits_BV, order_BV, axis=1).astype(np.float64)
    weight_BV = np.exp(sorted_BV - sorted_BV[:, :1])
    before_BV = np.cumsum(weight_BV, axis=1) - weight_BV
    kept_BV = np.where(before_BV < top_p * weight_BV.sum(axis=1, keepdims=True), weight_BV, 0.0)
    cumulative_BV = np.cumsum(kept_BV, axis=1)
    place_B = (cumulative_BV <= uniform_B[:, None] * cumulative_BV[:, -1:]).sum(axis=1)
    last_B = (kept_BV > 0).sum(axis=1) - 1
    rows = np.arange(len(order_BV))
    drawn: Ints = order_BV[rows, np.minimum(place_B, last_B)]
    return drawn


def _whole_bars(ids: Ids, vocabulary: Vocabulary) -> Ids:
    """The stream without padding, up to its end or, if it was cut short, its last whole bar, or
    the last whole note of its only one."""
    kind = vocabulary.kind[ids]
    stop = int(np.flatnonzero((kind == EOS) | (kind == BAR))[-1])
    return ids[: stop or int(np.flatnonzero((kind == METER) | (kind == DURATION))[-1]) + 1]
