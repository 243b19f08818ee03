"""Work in a thread beside the page: how far it is, how long it will take, and an end to it.

What the work says arrives on the page's own thread (the kernel's event loop), so widgets are only
ever changed there. Without a loop (a script, a test) it arrives at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

LOG = logging.getLogger(__name__)


class Cancelled(Exception):  # noqa: N818
    """The work was told to stop."""


class Job:
    """One piece of work: it calls `step` as it goes, and stops there once `cancel` was called."""

    def __init__(
        self, post: Callable[[Callable[[], None]], None], on_step: Callable[[float, str], None]
    ) -> None:
        self.post, self.on_step = post, on_step
        self.began = time.monotonic()
        self.cancelled = threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def step(self, share: float, doing: str) -> None:
        """Say how far the work is (0 to 1) and what it does. Raises `Cancelled`."""
        self.check()
        text = f"{doing} · {remaining(time.monotonic() - self.began, share)}"
        self.tell(lambda: self.on_step(share, text))

    def tell(self, news: Callable[[], None]) -> None:
        """Have something done on the page's thread, unless the work was cancelled meanwhile."""
        self.post(lambda: None if self.cancelled.is_set() else news())


def remaining(elapsed: float, share: float) -> str:
    """Time left in words, from the time that a share of the work took."""
    if share < 0.03 or elapsed < 1.0:
        return "working out the time left"
    left = elapsed * (1.0 - share) / share
    if left < 5:
        return "a few seconds left"
    if left < 90:
        return f"about {5 * round(left / 5)} s left"
    return f"about {round(left / 60)} min left"


class Worker:
    """A thread that does one job after another."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="sonicrx")
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def job(self, on_step: Callable[[float, str], None] = lambda share, text: None) -> Job:
        """A job to start; `on_step(share, text)` is told how far it is."""
        return Job(self._post, on_step)

    def start(
        self,
        job: Job,
        work: Callable[[Job], Any],
        done: Callable[[Any], None],
        failed: Callable[[str], None],
    ) -> Future[None]:
        """Do `work`; then `done(result)` or `failed(sentence)` on the page's thread.

        After `cancel` neither is called.
        """
        return self._pool.submit(self._run, job, work, done, failed)

    def _run(
        self,
        job: Job,
        work: Callable[[Job], Any],
        done: Callable[[Any], None],
        failed: Callable[[str], None],
    ) -> None:
        try:
            job.check()
            result = work(job)
        except Cancelled:
            return
        except (ValueError, OSError) as error:
            said = str(error)
            job.tell(lambda: failed(said))
        except Exception as error:
            LOG.exception("a job failed")
            said = f"{type(error).__name__}: {error}; what you chose is kept"
            job.tell(lambda: failed(said))
        else:
            job.tell(lambda: done(result))

    def _post(self, news: Callable[[], None]) -> None:
        if self._loop is None or self._loop.is_closed():
            news()
        else:
            self._loop.call_soon_threadsafe(news)
