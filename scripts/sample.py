"""Compose: `python scripts/sample.py goal=anxiety duration_s=120 key=D tempo=[84,60] n=2`."""

from pathlib import Path
from typing import Any

from rich.console import Console

from sonicrx_ml import checkpoint, report
from sonicrx_ml.compose import check, compose, produce
from sonicrx_ml.config import SampleConfig, entry
from sonicrx_ml.goals import prescribe
from sonicrx_ml.prescription import CONTROLS, Prescription


@entry("sample", SampleConfig)
def main(cfg: SampleConfig) -> None:
    prescriptions = takes(cfg)
    out, font = Path(cfg.out), Path(cfg.font) if cfg.font else None
    bundle = checkpoint.load(cfg.checkpoint)
    check(out, cfg.engine, font)
    console = Console()
    with console.status(f"composing {len(prescriptions)} x {prescriptions[0].duration_s:g} s"):
        compositions = compose(prescriptions, bundle, cfg.sampling)
    for composition in compositions:
        with console.status("rendering and judging"):
            track = produce(
                composition, bundle, cfg.sampling, cfg.engine, font, cfg.psychoacoustics
            )
            folder = track.save(out / composition.prescription.label)
        print(report.summary(track.report))
        print(f"track: {folder}")


def takes(cfg: SampleConfig) -> list[Prescription]:
    """The prescription asked for, once per take."""
    values: dict[str, Any] = {name: getattr(cfg, name) for name in CONTROLS}
    given = {name: value for name, value in values.items() if value is not None}
    if cfg.prescription:
        first = Prescription.from_dict(read(Path(cfg.prescription)).to_dict() | given)
    elif "goal" in given:
        first = prescribe(**given)
    else:
        first = Prescription.from_dict(given)
    if cfg.n < 1:
        raise ValueError(f"n={cfg.n}; legal are 1 and more")
    again = first.to_dict()
    return [Prescription.from_dict(again | {"seed": first.seed + i}) for i in range(cfg.n)]


def read(path: Path) -> Prescription:
    try:
        return Prescription.from_json(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


if __name__ == "__main__":
    main()
