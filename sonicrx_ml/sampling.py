"""Sampling: a batch of bar plans to notes, token by token, under rules.

Each rule is one small class that forbids tokens (sets their logits to minus infinity) from the
state of the streams. `Grammar` alone makes every stream decodable; the others make what is writable
exact: the meter, the number of bars, the palette (and that all of it plays), the register, the
scale, the closing chord, no empty piece.

Shapes: B streams, V vocabulary, K bars, A conditions, F families.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sonicrx_ml.attributes import SCALES
from sonicrx_ml.canonical import GRID, Gridded
from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.dataset import SILENT, SOUNDS, remaining_bucket
from sonicrx_ml.labels import FREE
from sonicrx_ml.model import Composer
from sonicrx_ml.palette import FAMILIES
from sonicrx_ml.plan import PHRASE, BarPlan
from sonicrx_ml.tokens import (
    BAR,
    BOS,
    DURATION,
    EOS,
    FOLLOWS,
    METER,
    PAD,
    PITCH,
    POSITION,
    PROGRAM,
    Ids,
    Vocabulary,
    decode,
)

TOKENS_PER_BAR = 160  # a stream that fills a bar with more is made to go on to the next bar
OVERRUN_BARS = 4  # bars past the asked number after which a raw stream is cut
SILENT_BARS = 1  # bars in a row that may stay empty


@dataclass(kw_only=True, slots=True)
class SamplingConfig:
    """How tokens are drawn."""

    temperature: float = 0.95
    top_p: float = 0.95
    """Draw from the smallest set of tokens that holds this probability."""
    guidance: float = 1.5
    """Classifier-free guidance: 1 is the plain conditional model, above it exaggerates."""
    masked: bool = True
    """False leaves only the grammar: palette, bars, register, scale and ending are the model's own.
    Tempo, meter, key and the second of the end are written in performance all the same."""
    best_of: int = 1
    """Takes of each phrase; the one that the judge finds nearest on its notes goes on."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("temperature", 0.05, 5.0),
            ("top_p", 0.01, 1.0),
            ("guidance", 0.0, 10.0),
            ("best_of", 1, 1000),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} {getattr(self, name)}; legal are {low} to {high}")


class State:
    """Where each of the B streams is. Vectors of length B unless said otherwise."""

    def __init__(self, batch: int, vocabulary: Vocabulary) -> None:
        self.kind_V = torch.from_numpy(vocabulary.kind)
        self.value_V = torch.from_numpy(vocabulary.value)
        self.kind = torch.full((batch,), BOS)
        self.bar = torch.full((batch,), -1)
        self.position = torch.full((batch,), -1)
        self.family = torch.full((batch,), -1)
        self.pitch = torch.full((batch,), -1)
        self.used_BF = torch.zeros(batch, len(FAMILIES), dtype=torch.bool)
        self.heard_BF = torch.full((batch, len(FAMILIES)), -(2**30))
        """Bar in which each family last began a note."""
        self.sounded_BC = torch.zeros(batch, 12)
        """Grid positions that each canonical pitch class has sounded."""
        self.bar_notes = torch.zeros(batch, dtype=torch.long)
        self.bar_tokens = torch.zeros(batch, dtype=torch.long)
        self.silent_bars = torch.zeros(batch, dtype=torch.long)

    def update(self, ids: Tensor) -> None:
        """Take in one more token of every stream; one that is given PAD stays as it is."""
        kind, value = self.kind_V[ids], self.value_V[ids]
        new_bar, onset = kind == BAR, kind == POSITION
        empty = new_bar & (self.bar >= 0) & (self.bar_notes == 0)
        self.silent_bars = torch.where(
            new_bar, torch.where(empty, self.silent_bars + 1, 0), self.silent_bars
        )
        self.bar += new_bar
        self.bar_tokens = torch.where(new_bar, 0, self.bar_tokens + (kind != PAD))
        self.bar_notes = torch.where(new_bar, 0, self.bar_notes + (kind == PITCH))
        self.position = torch.where(onset, value, torch.where(new_bar, -1, self.position))
        self.used_BF &= ~(new_bar | onset)[:, None]
        self.family = torch.where(kind == PROGRAM, value, torch.where(new_bar, -1, self.family))
        self.pitch = torch.where(kind == PITCH, value, self.pitch)
        self.pitch = torch.where(new_bar | onset | (kind == PROGRAM), -1, self.pitch)
        rows = torch.nonzero(kind == PITCH)[:, 0]
        self.used_BF[rows, self.family[rows]] = True
        self.heard_BF[rows, self.family[rows]] = self.bar[rows]
        rows = torch.nonzero(kind == DURATION)[:, 0]
        self.sounded_BC[rows, self.pitch[rows] % 12] += value[rows]
        self.kind = torch.where(kind == PAD, self.kind, kind)

    def copy(self, source: int, targets: Tensor) -> None:
        """Streams of the numbers `targets` become what stream `source` is."""
        origin = torch.arange(len(self.kind)).index_fill(0, targets, source)
        for name, values in vars(self).items():
            if not name.endswith("_V"):
                setattr(self, name, values[origin])


Seed: TypeAlias = int | tuple[int, int]
Choose: TypeAlias = Callable[[int, Sequence[Gridded]], int]
"""Which take of a plan goes on, given its number and the bars of each take so far."""


class Rule(Protocol):
    """Forbids tokens."""

    def allowed(self, state: State) -> Tensor:
        """(B, V), or broadcastable to it: True where a token may come next."""
        ...


class Grammar:
    """A decodable stream: tokens in order, time and pitch rising, no family twice at an onset."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        kinds = len(FOLLOWS)
        table = torch.zeros(kinds, kinds, dtype=torch.bool)
        for kind, following in FOLLOWS.items():
            table[kind, list(following)] = True
        self.follows_KV = table[:, torch.from_numpy(vocabulary.kind)]

    def allowed(self, state: State) -> Tensor:
        kind_V, value_V = state.kind_V, state.value_V
        ok_BV = self.follows_KV[state.kind].clone()
        ok_BV &= (kind_V != POSITION) | (value_V > state.position[:, None])
        ok_BV &= (kind_V != PITCH) | (
            (value_V > state.pitch[:, None]) & (state.family >= 0)[:, None]
        )
        known_BF = torch.cat([state.used_BF, state.used_BF.new_zeros(len(ok_BV), 1)], dim=1)
        stale_BV = known_BF[:, torch.where(kind_V == PROGRAM, value_V, -1)]
        same_BV = value_V == state.family[:, None]
        return ok_BV & ((kind_V != PROGRAM) | ~(stale_BV | same_BV))


class Frame:
    """The asked meter and number of bars: every onset inside its bar and before the music ends, the
    end after the last bar."""

    def __init__(self, vocabulary: Vocabulary, plans: Sequence[BarPlan]) -> None:
        meters = [plan.bars.meters[0] for plan in plans]
        self.meter = torch.tensor([[vocabulary.meter(meter)] for meter in meters])
        self.size = torch.tensor([meter.numerator * GRID for meter in meters])
        self.last_size = torch.tensor([_positions_left(plan) for plan in plans])
        self.bars = torch.tensor([len(plan) for plan in plans])
        self.ids_V = torch.arange(len(vocabulary))

    def allowed(self, state: State) -> Tensor:
        kind_V = state.kind_V
        more = (state.bar + 1 < self.bars)[:, None]
        size = torch.where(more, self.size[:, None], self.last_size[:, None])
        ok_BV = (kind_V != METER) | (self.ids_V == self.meter)
        ok_BV = ok_BV & ((kind_V != POSITION) | (state.value_V < size))
        return ok_BV & ((kind_V != BAR) | more) & ((kind_V != EOS) | ~more)


def _positions_left(plan: BarPlan) -> int:
    """Positions of the last bar at which a note may still begin: half a beat before the end."""
    meter = plan.bars.meters[-1]
    quarters = min(plan.end_quarters - plan.bars.edges[-2], meter.quarters)
    positions = quarters / 4.0 * meter.denominator * GRID
    return int(np.ceil(positions - GRID / 2 if quarters < meter.quarters else positions))


class Fullness:
    """No more than `SILENT_BARS` empty bars in a row, none first or last, and no endless bar."""

    def __init__(self, bars: Sequence[int]) -> None:
        self.bars = torch.tensor(bars)

    def allowed(self, state: State) -> Tensor:
        edge = (state.bar == 0) | (state.bar == self.bars - 1) | (state.silent_bars >= SILENT_BARS)
        hold = (edge & (state.bar_notes == 0))[:, None]
        leave = (state.bar_tokens >= TOKENS_PER_BAR)[:, None] & (state.kind == DURATION)[:, None]
        moves_V = (state.kind_V == BAR) | (state.kind_V == EOS)
        return torch.where(leave, moves_V | (state.kind_V == PAD), ~(hold & moves_V))


class Palette:
    """Only the families that the plan has playing in the bar sound."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.playing_BKF = _playing(plans)

    def allowed(self, state: State) -> Tensor:
        is_program = state.kind_V == PROGRAM
        playing_BF = _of_bar(self.playing_BKF, state.bar)
        return ~is_program | playing_BF[:, torch.where(is_program, state.value_V, 0)]


class Register:
    """Pitches within about two octaves of the asked mean, and on the piano after transposing."""

    REACH = 26

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        bars = max(len(plan) for plan in plans)
        self.low = torch.full((len(plans), bars), 21)
        self.high = torch.full((len(plans), bars), 108)
        for row, plan in enumerate(plans):
            asked = plan.targets["register"]
            low = np.where(np.isnan(asked), 0, asked - self.REACH)
            high = np.where(np.isnan(asked), 127, asked + self.REACH)
            on_piano = (21 - plan.transposition, 108 - plan.transposition)
            self.low[row, : len(plan)] = torch.from_numpy(np.clip(low, *on_piano).astype(int))
            self.high[row, : len(plan)] = torch.from_numpy(np.clip(high, *on_piano).astype(int))

    def allowed(self, state: State) -> Tensor:
        bar = state.bar.clamp(0, self.low.shape[1] - 1)[:, None]
        low, high = self.low.gather(1, bar), self.high.gather(1, bar)
        return (state.kind_V != PITCH) | ((state.value_V >= low) & (state.value_V <= high))


class Ensemble:
    """Every family that is to play does, from the bar in which it enters.

    One that has begun no note in this bar and the one before begins the bar's next onset.
    """

    PATIENCE = 2

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.playing_BKF = _playing(plans)

    def allowed(self, state: State) -> Tensor:
        silent_BF = state.bar[:, None] - state.heard_BF >= self.PATIENCE
        due_BF = _of_bar(self.playing_BKF, state.bar) & silent_BF
        held = (due_BF.any(dim=1) & (state.kind == POSITION))[:, None]
        is_program = state.kind_V == PROGRAM
        enters_BV = due_BF[:, torch.where(is_program, state.value_V, 0)] & is_program
        return ~held | enters_BV


def _playing(plans: Sequence[BarPlan]) -> Tensor:
    """(B, K, F): which families play in each bar of each plan; none past its end."""
    names, bars = list(FAMILIES), max(len(plan) for plan in plans)
    playing_BKF = torch.zeros(len(plans), bars, len(names), dtype=torch.bool)
    for row, plan in enumerate(plans):
        mine = [names.index(family) for family in plan.families]
        playing_BKF[row, : len(plan), mine] = torch.from_numpy(plan.playing)
    return playing_BKF


def _of_bar(values_BKX: Tensor, bar_B: Tensor) -> Tensor:
    """The row (B, X) of each stream's bar; of its first before, and of its last after the music."""
    bar = bar_B.clamp(0, values_BKX.shape[1] - 1)
    return values_BKX[torch.arange(len(bar)), bar]


_TRIADS = {"major": (0, 4, 7), "minor": (9, 0, 4)}


class Scale:
    """No more notes outside the scale than asked: each waits until its share has been earned.

    Where the chromaticism or the mode is open, every pitch may sound.
    """

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        bars = max(len(plan) for plan in plans)
        self.share_BK = torch.full((len(plans), bars), torch.inf)
        self.outside_BC = torch.zeros(len(plans), 12, dtype=torch.bool)
        for row, plan in enumerate(plans):
            if plan.mode is not None:
                asked = torch.from_numpy(plan.targets["chromaticism"]).float()
                self.share_BK[row, : len(plan)] = asked.nan_to_num(torch.inf)
                self.outside_BC[row] = ~torch.from_numpy(SCALES[plan.mode])

    def allowed(self, state: State) -> Tensor:
        bar = state.bar.clamp(0, self.share_BK.shape[1] - 1)[:, None]
        outside = (state.sounded_BC * self.outside_BC).sum(dim=1, keepdim=True)
        total = state.sounded_BC.sum(dim=1, keepdim=True)
        earned = outside + GRID <= self.share_BK.gather(1, bar) * (total + GRID)
        pitch_class = torch.where(state.kind_V == PITCH, state.value_V % 12, 0)
        foreign_BV = self.outside_BC[:, pitch_class] & (state.kind_V == PITCH)
        return ~foreign_BV | earned


class Cadence:
    """The last bar is made of the tonic triad, where the mode is asked."""

    def __init__(self, plans: Sequence[BarPlan]) -> None:
        self.last = torch.tensor([len(plan) - 1 for plan in plans])
        self.triad_BC = torch.ones(len(plans), 12, dtype=torch.bool)
        for row, plan in enumerate(plans):
            if plan.mode is not None:
                self.triad_BC[row] = torch.isin(torch.arange(12), torch.tensor(_TRIADS[plan.mode]))

    def allowed(self, state: State) -> Tensor:
        is_pitch = state.kind_V == PITCH
        triad_BV = self.triad_BC[:, torch.where(is_pitch, state.value_V % 12, 0)]
        return ~is_pitch | triad_BV | (state.bar < self.last)[:, None]


def rules_for(plans: Sequence[BarPlan], vocabulary: Vocabulary) -> list[Rule]:
    """Every rule that a prescription's plans call for, `Grammar` first."""
    bars = [len(plan) for plan in plans]
    return [
        Grammar(vocabulary),
        Frame(vocabulary, plans),
        Fullness(bars),
        Palette(plans),
        Register(plans),
        Ensemble(plans),
        Scale(plans),
        Cadence(plans),
    ]


# ---------------------------------------------------------------- from plans to streams


def sample(
    bundle: Bundle,
    plans: Sequence[BarPlan],
    seeds: Sequence[Seed],
    config: SamplingConfig,
    choose: Choose | None = None,
) -> list[Gridded]:
    """Compose every plan in one batch; see `stream`."""
    parts: list[list[Ids]] = [[] for _ in plans]
    for index, ids in stream(bundle, plans, seeds, config, choose):
        parts[index].append(ids)
    return [decode(_whole_bars(np.concatenate(p), bundle.vocabulary), bundle.vocabulary)
            for p in parts]  # fmt: skip


@torch.inference_mode()
def stream(
    bundle: Bundle,
    plans: Sequence[BarPlan],
    seeds: Sequence[Seed],
    config: SamplingConfig,
    choose: Choose | None = None,
) -> Iterator[tuple[int, Ids]]:
    """The next bars of a plan, by the plan's number, until every piece has ended.

    Each plan is composed by `config.best_of` takes, all in one batch. At the end of each phrase of
    `PHRASE` bars the takes of a plan wait for each other, `choose` says which goes on, and the
    others become copies of it. Take t of plan i depends on the plan, seed i and t alone.
    """
    if config.best_of > 1 and choose is None:
        raise ValueError(f"best_of {config.best_of} needs somebody to choose; legal is 1")
    takes = _Takes(bundle, plans, seeds, config)
    while takes.step():
        for index in takes.arrived():
            rows = takes.rows(index)
            whole = [takes.grid(row) for row in rows] if choose and len(rows) > 1 else []
            yield index, takes.settle(index, choose(index, whole) if choose and whole else 0)


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
        self.rules = rules_for(laid, self.vocabulary)[: None if config.masked else 1]
        self.state = State(len(laid), self.vocabulary)
        self.network = _Network(bundle.composer, _conditions(bundle, laid), config.guidance)
        self.rngs = [np.random.default_rng((seed, take) if take else seed)
                     for seed in seeds for take in range(self.count)]  # fmt: skip
        self.limit = torch.tensor([len(plan) + OVERRUN_BARS for plan in laid])
        self.goal = torch.full((len(laid),), PHRASE)
        """Bar at whose bar line each stream waits."""
        self.ids = torch.full((len(laid),), self.vocabulary.bos)
        self.written: list[list[int]] = [[] for _ in laid]
        self.settled = [0] * len(plans)
        self.open = set(range(len(plans)))

    @property
    def ended(self) -> Tensor:
        return (self.state.kind == EOS) | (self.state.bar >= self.limit)

    @property
    def waiting(self) -> Tensor:
        """(B,): ended, or at the bar line of its goal, or beyond any sense of bars."""
        full = self.state.bar_tokens > TOKENS_PER_BAR + 4
        return self.ended | full | (self.state.bar >= self.goal)

    def step(self) -> bool:
        """One more token of every stream that is not waiting; False where no piece is open."""
        if not self.open:
            return False
        live = ~self.waiting
        state, config = self.state, self.config
        logits_BV = self.network.step(self.ids, state.bar.clamp(min=0), live) / config.temperature
        allowed_BV = self.rules[0].allowed(state)
        for rule in self.rules[1:]:
            allowed_BV = allowed_BV & rule.allowed(state)
        allowed_BV = torch.where(live[:, None], allowed_BV, state.kind_V == PAD)
        assert allowed_BV.any(dim=1).all(), "the rules leave a stream no token"
        alive = live.tolist()
        uniform = torch.tensor([rng.random() if on else 0.0
                                for rng, on in zip(self.rngs, alive, strict=True)])  # fmt: skip
        drawn = _draw(logits_BV.masked_fill(~allowed_BV, -torch.inf), uniform, config.top_p)
        state.update(drawn)
        self.ids = torch.where(live, drawn, self.ids)
        for written, token, on in zip(self.written, drawn.tolist(), alive, strict=True):
            if on:
                written.append(token)
        return True

    def rows(self, index: int) -> range:
        return range(index * self.count, (index + 1) * self.count)

    def arrived(self) -> list[int]:
        """Open plans whose takes all wait."""
        waiting = self.waiting.view(-1, self.count).all(dim=1).tolist()
        return [index for index in sorted(self.open) if waiting[index]]

    def grid(self, row: int) -> Gridded:
        """The whole bars that a stream has composed so far."""
        ids = np.array(self.written[row], dtype=np.uint16)
        return decode(_whole_bars(ids, self.vocabulary), self.vocabulary)

    def settle(self, index: int, take: int) -> Ids:
        """Let a take of a plan go on, alone of its kind; what it has added since the last time."""
        rows = self.rows(index)
        chosen = rows[take]
        others = torch.tensor([row for row in rows if row != chosen], dtype=torch.long)
        if len(others):
            self.state.copy(chosen, others)
            self.network.copy(chosen, others)
            self.ids = self.ids.index_fill(0, others, int(self.ids[chosen]))
            for row in others.tolist():
                self.written[row] = self.written[chosen].copy()
        self.goal[rows.start : rows.stop] += PHRASE
        if self.waiting[chosen]:
            self.open.discard(index)
            self.network.drop(rows)
        new = np.array(self.written[chosen][self.settled[index] :], dtype=np.uint16)
        self.settled[index] += len(new)
        return new


class _Network:
    """The composer with its cache; guidance runs an unconditional twin of each stream beside it.

    Streams that are done with are dropped from the network's batch.
    """

    def __init__(self, composer: Composer, conditions_BKA: Tensor, guidance: float) -> None:
        self.composer, self.guidance = composer, guidance
        self.place_B = torch.arange(len(conditions_BKA))
        """Where each stream is in the network's batch; -1 where it is not."""
        self.copies = 1 if guidance == 1.0 else 2
        if self.copies == 2:
            conditions_BKA = torch.cat([conditions_BKA, torch.full_like(conditions_BKA, FREE)])
        self.injected_LBKD = composer.inject(composer.prescribe(conditions_BKA))
        self.cache = composer.new_cache(len(conditions_BKA))

    def step(self, ids_B: Tensor, bar_B: Tensor, live_B: Tensor) -> Tensor:
        """Logits (B, V) of the next token of the live streams; the others stay as they are."""
        kept = self.place_B >= 0
        bar = bar_B[kept].clamp(max=self.injected_LBKD.shape[2] - 1).repeat(self.copies)
        found = self.composer.step(
            ids_B[kept].repeat(self.copies),
            self.injected_LBKD[:, torch.arange(len(bar)), bar],
            self.cache,
            live_B[kept].repeat(self.copies),
        ).chunk(self.copies)
        told, free = found[0], found[-1]
        logits_BV = told.new_zeros(len(kept), told.shape[1])
        logits_BV[kept] = free + self.guidance * (told - free) if self.copies == 2 else told
        return logits_BV

    def copy(self, source: int, targets: Tensor) -> None:
        """Streams `targets` become what stream `source` is; they are of the same plan."""
        size = len(self.cache.length_B) // self.copies
        for twin in range(self.copies):
            place = self.place_B + twin * size
            self.cache.copy(int(place[source]), place[targets])

    def drop(self, rows: range) -> None:
        """Streams that take no step any more."""
        kept = torch.ones(len(self.cache.length_B) // self.copies, dtype=torch.bool)
        kept[self.place_B[list(rows)]] = False
        self.place_B[list(rows)] = -1
        on = self.place_B >= 0
        self.place_B[on] = torch.arange(int(on.sum()))
        both = kept.repeat(self.copies)
        self.injected_LBKD = self.injected_LBKD[:, both]
        self.cache.keep(both)


def _conditions(bundle: Bundle, plans: Sequence[BarPlan]) -> Tensor:
    """(B, K, A): the plans' targets in the bundle's bins; bars past a plan's end are free."""
    bars = max(len(plan) for plan in plans)
    families_BKF = torch.where(_playing(plans), SOUNDS, SILENT).numpy()
    rows = []
    for index, plan in enumerate(plans):
        major = {"major": 1.0, "minor": 0.0, None: np.nan}[plan.mode]
        values = {**plan.targets, "mode": np.full(len(plan), major)}
        families_KF = families_BKF[index, : len(plan)]
        row = np.column_stack(
            [bundle.bins.digitize(values), remaining_bucket(plan.remaining), families_KF]
        )
        rows.append(np.pad(row, ((0, bars - len(plan)), (0, 0)), constant_values=FREE))
    return torch.from_numpy(np.stack(rows))


def _draw(logits_BV: Tensor, uniform_B: Tensor, top_p: float) -> Tensor:
    """Inverse-transform draw from the smallest set of tokens that holds `top_p`."""
    probability_BV, order_BV = logits_BV.softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
    before_BV = probability_BV.cumsum(dim=-1) - probability_BV
    kept_BV = torch.where(before_BV < top_p, probability_BV, 0.0)
    cumulative_BV = kept_BV.cumsum(dim=-1)
    wanted_B1 = uniform_B[:, None].to(cumulative_BV) * cumulative_BV[:, -1:]
    place_B1 = torch.searchsorted(cumulative_BV, wanted_B1, right=True)
    last_B1 = (kept_BV > 0).sum(dim=-1, keepdim=True) - 1
    return order_BV.gather(1, torch.minimum(place_B1, last_B1))[:, 0]


def _whole_bars(ids: Ids, vocabulary: Vocabulary) -> Ids:
    """The stream without padding, up to its end or, if it was cut short, its last whole bar, or
    the last whole note of its only one."""
    kind = vocabulary.kind[ids]
    stop = int(np.flatnonzero((kind == EOS) | (kind == BAR))[-1])
    return ids[: stop or int(np.flatnonzero((kind == METER) | (kind == DURATION))[-1]) + 1]
