"""Hydra: the schema of the command line, and nothing else.

YAML groups hold values, dataclasses hold the schema. A config is turned into plain dataclasses once
(`to_object`); no config value ever names code to run.
"""

from __future__ import annotations

import difflib
import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, is_dataclass, make_dataclass
from typing import Any, TypeVar
from unittest.mock import patch

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError

from sonicrx_ml.prescription import CONTROLS
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.session import FIGURES

T = TypeVar("T")


@dataclass(kw_only=True)
class CorpusConfig:
    """A folder of MIDI to prepare."""

    root: str = MISSING
    manifest: str | None = None
    tiers: list[str] = field(default_factory=lambda: ["a"])


@dataclass(kw_only=True)
class PrepareConfig:
    """`scripts/prepare_data.py`"""

    data: CorpusConfig = field(default_factory=CorpusConfig)
    out: str = MISSING
    workers: int | None = None


_Controls = make_dataclass("_Controls", [(name, Any, None) for name in CONTROLS], kw_only=True)


@dataclass(kw_only=True)
class SampleConfig(_Controls):  # type: ignore[misc, valid-type]
    """`scripts/sample.py`: every control of a prescription, and how to make it a track."""

    prescription: str | None = None
    """A JSON file to start from; controls given beside it replace its own."""
    listener: str | None = None
    """A JSON profile of the listener, to whom the goal is fitted."""
    override: str | None = None
    """"who: why" of the clinician who lets the goal pass the listener's safety screen."""
    step_percent: float | None = None
    """Raise the beat above the listener's cadence, by 5 to 10 %."""
    n: int = 1
    """Takes, with seeds counted up from `seed`."""
    course: str = ""
    """A track for each day instead: one_week, two_weeks, four_weeks."""
    starts: str | None = None
    """Date of a course's first day, for its calendar: 2026-12-01."""
    batch: int | None = None
    """Tracks of a course composed side by side; open, as many as half an hour holds."""
    given: str | None = None
    """A MIDI file to compose on to: without `fill`, it is continued for `duration_s`."""
    fill: list[int] | None = None
    """First and last bar of the given file to compose anew, counted from 1."""
    checkpoint: str = "checkpoints/small"
    out: str = "tracks"
    engine: str = "auto"
    font: str | None = None
    psychoacoustics: bool = False
    """Judge loudness in sone, sharpness, roughness and the like too: seconds a minute of sound."""
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        if self.course and self.given is not None:
            raise ValueError("course with given; legal is one of them")
        if self.psychoacoustics and (self.course or self.given is not None):
            raise ValueError("psychoacoustics with course or given; legal is with neither")
        if self.starts is not None and not self.course:
            raise ValueError("starts without course; legal is with course=NAME")
        if self.fill is None:
            return
        if self.given is None:
            raise ValueError("fill without a file; legal is given=FILE.mid 'fill=[FIRST,LAST]'")
        if len(self.fill) != 2:
            raise ValueError(f"fill={self.fill}; legal is [FIRST,LAST], bars counted from 1")
        named = [n for n in ("duration_s", "tempo", "final_silence_s", "breaths_per_min")
                 if getattr(self, n) is not None]  # fmt: skip
        if named:
            raise ValueError(f"{named[0]} with fill: time is the file's; legal is without")


@dataclass(kw_only=True)
class SuiteConfig:
    """Prescriptions to compose, each as the controls of `Prescription.from_dict`."""

    prescriptions: list[dict[str, Any]] = MISSING


@dataclass(kw_only=True)
class EvaluateConfig:
    """`scripts/evaluate.py`"""

    checkpoint: str = "checkpoints/small"
    prepared: str = MISSING
    """Folder that `scripts/prepare_data.py` wrote."""
    suite: SuiteConfig = MISSING
    what: list[str] = field(default_factory=lambda: ["nats", "suite", "likeness"])
    """`nats`: nats per note of the split; `suite`: conformance over the suite; `likeness`: its
    music beside the split's."""
    columns: dict[str, SamplingConfig] = MISSING
    """Ways to sample, by name: the columns of the conformance table."""
    baselines: list[str] = MISSING
    """Columns that are not composed to the prescription: free, etudes, retrieved."""
    tracks: str | None = None
    """A folder of tracks by another system: judge these and nothing else."""
    prescriptions: str | None = None
    """What the tracks were to be: a JSON object from names of files to prescriptions."""
    seeds: list[int] = field(default_factory=lambda: [1])
    """Every prescription is composed once per seed."""
    sound: bool = False
    """Judge the rendered sound too."""
    players: bool = True
    """Render the best, median and worst track of every column into the page."""
    split: str = "test"
    order: int = 7
    """Tokens of the n-gram, the predicted one included."""
    limit: int = 0
    """Use so many windows of the split and so many prescriptions, evenly spread; 0 for all."""
    batch_size: int = 16
    device: str = "cpu"
    """Where nats are computed."""
    threads: int | None = None
    out: str = MISSING

    def __post_init__(self) -> None:
        for name, legal in (
            ("what", ("nats", "suite", "likeness")),
            ("baselines", ("free", "etudes", "retrieved")),
        ):
            strange = set(getattr(self, name)) - set(legal)
            if strange:
                raise ValueError(f"{name}={getattr(self, name)}; legal are {', '.join(legal)}")
        if self.tracks is not None and self.limit:
            raise ValueError(f"limit={self.limit} with tracks: all are judged; legal is without")
        if not self.what or self.what == ["likeness"]:
            raise ValueError(f"what={self.what}; legal are nats, suite, and likeness with suite")


DOINGS = (
    "add", "correct", "withdraw", "list", "export", "chart", "suggest", "accept", "decline"
)  # fmt: skip
_Figures = make_dataclass(
    "_Figures", [(name, float | None, None) for name in FIGURES], kw_only=True
)


@dataclass(kw_only=True)
class SessionsConfig(_Figures):  # type: ignore[misc, valid-type]
    """`scripts/sessions.py`: every figure of a session, and what to do with the journal."""

    listener: str = MISSING
    """A pseudonym."""
    do: str = "list"
    log: str = "journals"
    """Folder of the journals, a file for each listener."""
    prescription: str = ""
    """What was heard (add, correct), or the base to suggest from: a JSON file."""
    goal: str = ""
    """Suggest from what the profile makes of this goal."""
    profile: str = ""
    """The listener's profile, a JSON file: what is suggested passes its safety screen."""
    override: str | None = None
    """"who: why" of the clinician who lets the goal pass the listener's safety screen."""
    began: str | None = None
    """ISO 8601 with its time zone; now where it is not given."""
    stopped: str = "finished"
    number: int = 0
    """The row that is corrected or withdrawn; the suggestion decided on, by default the latest."""
    keep: bool = False
    """Suggest what to keep instead of what to try next."""
    by: str = ""
    """Pseudonym of who accepts or declines."""
    child: bool = False
    """Hold the week to the hearing dose of children."""
    out: str | None = None

    def __post_init__(self) -> None:
        if self.do not in DOINGS:
            raise ValueError(f"do={self.do}; legal are {', '.join(DOINGS)}")
        if self.do in ("correct", "withdraw") and self.number < 1:
            raise ValueError(f"do={self.do} needs number=, the row that is wrong (do=list)")
        if self.do == "suggest" and not (self.profile and self.goal):
            raise ValueError("do=suggest needs profile=, the listener's JSON file, and goal=")
        if self.do in ("add", "correct") and not self.prescription:
            raise ValueError(f"do={self.do} needs prescription=, the JSON file of what was heard")


def register(name: str, kind: type) -> None:
    """Make the schema of a root config known to Hydra, as `<name>_schema`."""
    ConfigStore.instance().store(f"{name}_schema", kind)


def plain(config: DictConfig, kind: type[T]) -> T:
    """The config as plain dataclasses.

    Raises `ValueError` where a required value is missing, and where `+` added a key that the schema
    does not have.
    """
    unknown = list(_unknown(config))
    if unknown:
        raise ValueError(f"unknown: {', '.join(unknown)}")
    missing = OmegaConf.missing_keys(config)
    if missing:
        raise ValueError(f"required and not given: {', '.join(sorted(missing))}")
    result: Any = OmegaConf.to_object(config)
    assert isinstance(result, kind)
    return result


def _unknown(config: DictConfig, path: str = "") -> Iterator[str]:
    """Keys, with their path, that a dataclass of the schema does not have."""
    kind: Any = OmegaConf.get_type(config)
    legal = [field.name for field in fields(kind)] if is_dataclass(kind) else None
    for key in config:
        name = path + str(key)
        if legal is not None and key not in legal:
            yield f"{name} (legal are {', '.join(legal)})"
        elif not OmegaConf.is_missing(config, key) and isinstance(config[key], DictConfig):
            yield from _unknown(config[key], f"{name}.")


def entry(name: str, kind: type[T]) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """Make a function of a config the `main` of a script: `configs/<name>.yaml` + command line.

    What a user can mend is said in one line, with exit code 2, and a run that is stopped (Ctrl-C)
    ends with 130; where HYDRA_FULL_ERROR is set, with their traceback.
    """
    register(name, kind)
    refusals = nullcontext if "HYDRA_FULL_ERROR" in os.environ else _refusals

    def decorate(main: Callable[[T], None]) -> Callable[[], None]:
        @hydra.main(version_base="1.3", config_path="../configs", config_name=name)
        @functools.wraps(main)
        def task(config: DictConfig) -> None:
            with refusals():
                main(plain(config, kind))

        @functools.wraps(main)
        def run() -> None:
            # The variable makes Hydra raise its own errors, which it would otherwise print.
            with refusals(), patch.dict(os.environ, HYDRA_FULL_ERROR="1"):
                task()

        return run

    return decorate


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (ValueError, OSError, HydraException) as error:
        print(f"error: {_in_one_line(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)


def _in_one_line(error: Exception) -> str:
    """What is wrong, and where Hydra knows them, the legal names."""
    cause, said = error.__cause__, str(error).partition("\n")[0]
    match error:
        case OverrideParseException():
            return f"cannot read {error.override}; legal is name=value, quoted as in 'key=\"F#\"'"
        case MissingConfigException(options=[*options]):
            return f"{said.rstrip('.')}; legal are {', '.join(options)}"
        case HydraException() if isinstance(cause, ConfigAttributeError | ConfigKeyError):
            names = [str(key) for key in cause.parent_node or () if key != "hydra"]
            near = difflib.get_close_matches(str(cause.full_key), names, 1, 0.8)
            meant = f" (did you mean {near[0]}?)" if near else ""
            return f"unknown {cause.full_key}{meant}; legal are {', '.join(names)}"
        case HydraException() if cause is not None:
            return f"{said}: {cause}".partition("\n")[0]
        case OSError(filename=str(name)):
            return f"{name}: {error.strerror}"
    return said
