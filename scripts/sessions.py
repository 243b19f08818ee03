"""A listener's journal: `python scripts/sessions.py listener=L-17 do=add prescription=FILE ...`.

`do=` add, correct, withdraw, list, export, chart, suggest, accept or decline. A suggestion is only
shown; `do=accept by=C-3` writes down who accepted what was shown, and leaves it in a file.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from sonicrx_ml import adapt, asking, motifs, plots
from sonicrx_ml.config import SessionsConfig, entry
from sonicrx_ml.hearing import ADULT, CHILD
from sonicrx_ml.journal import Journal
from sonicrx_ml.outcomes import PANELS, before_after
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.session import FIGURES, Session, dose
from sonicrx_ml.suggestion import decide

BEGIN = ("add", "suggest")  # what may begin a journal


@entry("sessions", SessionsConfig)
def main(cfg: SessionsConfig) -> None:
    if cfg.listener.endswith(".json"):
        raise ValueError(f"listener={cfg.listener}; legal is the pseudonym, and profile=FILE")
    if cfg.do not in BEGIN and not Journal.file(Path(cfg.log), cfg.listener).is_file():
        raise ValueError(f"{cfg.log} has no journal of {cfg.listener}; do=add begins one")
    if cfg.do == "add":
        session(cfg)  # what is not legal is refused before a journal is made
    journal = Journal(Path(cfg.log), cfg.listener)
    actions: dict[str, Callable[[], object]] = {
        "add": lambda: f"row {journal.append(session(cfg))}",
        "correct": lambda: f"row {journal.append(session(cfg), cfg.number)}",
        "withdraw": lambda: f"row {journal.withdraw(cfg.number)}",
        "list": lambda: listing(journal),
        "export": lambda: "\n".join(map(str, journal.export(out(cfg, "csv")))),
        "chart": lambda: write(out(cfg, "svg"), plots.svg(before_after(journal.sessions()))),
        "suggest": lambda: suggestion(cfg, journal),
        "accept": lambda: accepted(cfg, journal),
        "decline": lambda: decided(cfg, journal).label,
    }
    print(actions[cfg.do]())
    warning = dose(journal.sessions(), datetime.now(UTC), CHILD if cfg.child else ADULT).warning
    if warning:
        print(warning, file=sys.stderr)


def session(cfg: SessionsConfig) -> Session:
    figures = {name: getattr(cfg, name) for name in FIGURES}
    began = moment(cfg.began) if cfg.began else datetime.now(UTC)
    asked = asking.read(cfg.prescription)
    return Session(
        listener=cfg.listener, prescription=asked, began=began, stopped=cfg.stopped, **figures
    ).heard_once()


def moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"began={text}; legal is a time as 2026-12-01T20:30") from None


def listing(journal: Journal) -> str:
    rows = [
        f"{e.number}  {e.session.began:%Y-%m-%d %H:%M}  {e.session.prescription.label}  "
        f"{e.session.minutes:g} min, {e.session.level_db_spl:g} dB SPL, {e.session.stopped}"
        f"{ratings(e.session)}"
        for e in journal.current()
    ]
    return "\n".join(rows) or "no sessions yet"


def ratings(session: Session) -> str:
    """What was rated before and after."""
    told = ((name, *(getattr(session, f"{name}_{when}") for when in ("before", "after")))
            for name in PANELS)  # fmt: skip
    return "".join(
        f", {PANELS[name].partition(',')[0]} {before:g} -> {after:g}"
        for name, before, after in told
        if before is not None and after is not None
    )


def suggestion(cfg: SessionsConfig, journal: Journal) -> str:
    """Made, written down, and only then shown."""
    who = motifs.profile(cfg.profile)
    if who.id != cfg.listener:
        raise ValueError(f"profile of {who.id}; legal is that of {cfg.listener}")
    base = asking.read(cfg.prescription) if cfg.prescription else None
    curiosity = adapt.CAUTION if cfg.keep else adapt.CURIOSITY
    found = adapt.suggest_for(
        who, journal.sessions(), cfg.goal, base=base, override=cfg.override, curiosity=curiosity
    )
    return f"suggestion {journal.show(found.shown)}: {found.words}"


def accepted(cfg: SessionsConfig, journal: Journal) -> str:
    found = decided(cfg, journal)
    return f"{write(out(cfg, 'json'), found.to_json())}: {found.goal}, {found.duration_s:g} s"


def decided(cfg: SessionsConfig, journal: Journal) -> Prescription:
    shown = journal.shown(cfg.number or None)
    return decide(journal, shown, by=cfg.by, accepted=cfg.do == "accept")


def out(cfg: SessionsConfig, kind: str) -> Path:
    return Path(cfg.out or f"{cfg.log}/{cfg.listener}.{kind}")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
