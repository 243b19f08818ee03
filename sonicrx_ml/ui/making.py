"""Making takes: composed phrase by phrase, the first of it heard early, rendered, judged, saved.

Everything here runs in the worker's thread and touches no widget: it tells the page by `Job`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from sonicrx_ml.checkpoint import Bundle
from sonicrx_ml.compose import Composition, check, composing, produce
from sonicrx_ml.fitting import ListeningPlan, label
from sonicrx_ml.prescription import Prescription
from sonicrx_ml.sampling import SamplingConfig
from sonicrx_ml.ui.jobs import Job
from sonicrx_ml.ui.takes import FIRST_HEARD_S, Take, early_sound

Early = Callable[[bytes, str], None]
"""Is told of the first of a take: MP3 and picture."""

COMPOSED = 0.7  # share of the time that composing takes; rendering and judging is the rest
LONGER = 2.0  # an early sound is made anew when the music is so much longer
SECONDS_PER_SECOND = 0.25  # of work for music, four tries a phrase on two cores; see the README


def make(
    job: Job,
    prescriptions: Sequence[Prescription],
    bundle: Bundle,
    sampling: SamplingConfig,
    plan: ListeningPlan | None,
    out: Path,
    early: Early,
) -> list[Take]:
    """A take of each prescription, saved in `out`. Raises `Cancelled`, `ValueError`, `OSError`."""
    check(out)
    takes = []
    for index, prescription in enumerate(prescriptions):
        part = _Part(job, index, len(prescriptions))
        composition = _composed(part, prescription, bundle, sampling, early)
        takes.append(_finished(part, composition, bundle, sampling, plan, out))
    return takes


class _Part:
    """One take's share of the whole progress."""

    def __init__(self, job: Job, index: int, count: int) -> None:
        self.job, self.index, self.count = job, index, count

    def step(self, share: float, doing: str) -> None:
        which = f"Take {self.index + 1} of {self.count}: " if self.count > 1 else ""
        self.job.step((self.index + share) / self.count, f"{which}{doing}")


def _composed(
    part: _Part, prescription: Prescription, bundle: Bundle, sampling: SamplingConfig, early: Early
) -> Composition:
    """The whole composition; only the first take is heard early."""
    part.step(0.0, "composing")
    heard = FIRST_HEARD_S
    drafts = composing(prescription, bundle, sampling)
    for draft in drafts:
        share = draft.seconds / prescription.music_s
        part.step(COMPOSED * share, f"composing, {100 * share:.0f} %")
        if part.index == 0 and draft.seconds >= heard and share < 1.0:
            part.job.tell(partial(early, *early_sound(draft)))
            heard = LONGER * draft.seconds
    return draft.composition()


def _finished(
    part: _Part,
    composition: Composition,
    bundle: Bundle,
    sampling: SamplingConfig,
    plan: ListeningPlan | None,
    out: Path,
) -> Take:
    part.step(COMPOSED, "rendering and checking")
    track = produce(composition, bundle, sampling)
    if plan:
        track = track.made_for(plan)
    part.step(0.88, "saving")
    return Take(track.save(out / label(composition.prescription, plan), preview=True))


def time_to_make(seconds: float, takes: int, tries: int) -> str:
    """How long making takes, roughly, in words."""
    work = SECONDS_PER_SECOND * seconds * takes * (0.5 + tries / 8)
    if work < 50:
        return "Making it takes less than a minute; the first of it can be heard while it is made."
    minutes = max(1, round(work / 60))
    return (
        f"Making it takes about {minutes} minute{'s' * (minutes != 1)}; the first of it can be "
        "heard within seconds."
    )
