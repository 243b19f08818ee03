"""Compose: `python scripts/sample.py goal=anxiety duration_s=120 key=D tempo=[84,60] n=2`.

On to a file: `given=theirs.mid duration_s=60` continues it, `given=theirs.mid 'fill=[9,16]'`
composes bars anew.
"""

from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from sonicrx_ml import checkpoint, given, motifs, prompted, prompting, report
from sonicrx_ml.compose import check, compose, produce
from sonicrx_ml.config import SampleConfig, entry
from sonicrx_ml.fitting import ListeningPlan, prescribe_for
from sonicrx_ml.goals import prescribe
from sonicrx_ml.listener import Listener
from sonicrx_ml.prescription import CONTROLS, Prescription

ROOMY_S = 600.0  # a length that suits every goal; filled bars are then as long as they are
T = TypeVar("T", Prescription, Listener)


@entry("sample", SampleConfig)
def main(cfg: SampleConfig) -> None:
    if cfg.given:
        return compose_on(cfg)
    plan = personal(cfg)
    prescriptions = takes(cfg, plan)
    out, font = Path(cfg.out), Path(cfg.font) if cfg.font else None
    bundle = checkpoint.load(cfg.checkpoint)
    check(out, cfg.engine, font)
    deep = cfg.psychoacoustics or bool(plan and plan.max_sharpness_acum)
    if plan:
        print(plan.summary())
    console = Console()
    with console.status(f"composing {len(prescriptions)} x {prescriptions[0].duration_s:g} s"):
        compositions = compose(prescriptions, bundle, cfg.sampling)
    for composition in compositions:
        with console.status("rendering and judging"):
            track = produce(composition, bundle, cfg.sampling, cfg.engine, font, deep)
            if plan:
                track = track.made_for(plan)
            folder = track.save(out / composition.prescription.label)
        print(report.summary(track.report))
        print(f"track: {folder}")


def compose_on(cfg: SampleConfig) -> None:
    """Continue the given file, or fill bars of it."""
    source, out = given.read(cfg.given or ""), Path(cfg.out)
    first, last = cfg.fill or (0, 0)
    if cfg.fill:
        cfg.duration_s = max(given.seconds_of(source, first, last), ROOMY_S)
    font = Path(cfg.font) if cfg.font else None
    prescriptions = takes(cfg, personal(cfg))
    bundle = checkpoint.load(cfg.checkpoint)
    check(out, cfg.engine, font)
    for asked in prescriptions:
        if cfg.fill:
            made = prompting.filled(source, first, last, asked, bundle, cfg.sampling)
        else:
            made = prompting.continued(source, asked, bundle, cfg.sampling)
        name = f"{Path(cfg.given or '').stem}-{made.composition.prescription.label}"
        folder = prompted.save(made, source, bundle, cfg.sampling, out / name, cfg.engine, font)
        print(prompted.summary(made, source))
        print(f"track: {folder}")


def takes(cfg: SampleConfig, plan: ListeningPlan | None) -> list[Prescription]:
    """The prescription asked for, once per take."""
    given = controls(cfg)
    if plan:
        first = plan.prescription
    elif cfg.prescription:
        values = read(Path(cfg.prescription), Prescription).to_dict()
        first = Prescription.from_dict(values | given)
    elif "goal" in given:
        first = prescribe(**given)
    else:
        first = Prescription.from_dict(given)
    if cfg.n < 1:
        raise ValueError(f"n={cfg.n}; legal are 1 and more")
    again = first.to_dict()
    return [Prescription.from_dict(again | {"seed": first.seed + i}) for i in range(cfg.n)]


def personal(cfg: SampleConfig) -> ListeningPlan | None:
    """The goal fitted to the listener, where there is one."""
    given = controls(cfg)
    if cfg.listener is None:
        if cfg.override is not None or cfg.step_percent is not None:
            raise ValueError("override and step_percent need a listener; legal is listener=FILE")
        return None
    if cfg.prescription or "goal" not in given:
        raise ValueError("a listener needs a goal, and no prescription; legal is goal=NAME")
    who = read(Path(cfg.listener), Listener)
    return prescribe_for(who, override=cfg.override, step_percent=cfg.step_percent, **given)


def controls(cfg: SampleConfig) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(cfg, name) for name in CONTROLS}
    if isinstance(cfg.anchor, str):
        values["anchor"] = motifs.load(cfg.anchor).to_dict()
    return {name: value for name, value in values.items() if value is not None}


def read(path: Path, kind: type[T]) -> T:
    try:
        return kind.from_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


if __name__ == "__main__":
    main()
