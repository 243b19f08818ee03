"""The served page, driven in a real browser: what a clinician does, and what must not happen."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sonicrx_ml import audio
from sonicrx_ml.prescription import Prescription

pytest.importorskip("playwright", reason="playwright is not installed (group dev)")
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

ROOT = Path(__file__).parent.parent
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
PATIENCE_MS = 90_000
LOCAL = ("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")


@pytest.fixture(scope="module")
def served(small, tmp_path_factory) -> Iterator[dict[str, Any]]:
    """The page with a composer that has learned nothing: its address, and where it leaves takes."""
    folder = tmp_path_factory.mktemp("app")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "SONICRX_CHECKPOINT": str(small),
        "SONICRX_TRACKS": str(folder / "tracks"),
        "SONICRX_JOURNALS": str(folder / "journals"),
        "SONICRX_SOUNDFONT": str(audio.PACKAGED_FONT),
        "HOME": str(folder),
    }
    command = [sys.executable, "-m", "sonicrx_ml.ui.serve", "--port", str(port)]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=log,
                               text=True)  # fmt: skip
    assert process.stdout is not None
    url = re.search(r"http://\S+", process.stdout.readline())
    assert url is not None
    try:
        _wait_until_answered(f"http://127.0.0.1:{port}/voila/static/", process)
        yield {"url": url[0], "port": port, "tracks": folder / "tracks",
               "journals": folder / "journals"}  # fmt: skip
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()
        log.close()


def _wait_until_answered(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the page is not served")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser, served) -> Iterator[Page]:
    """A visitor's page; at the end nothing has left this machine, and the console has no error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = opened(context.new_page(), served)
    yield shown
    context.close()
    assert shown.seen["elsewhere"] == []  # type: ignore[attr-defined]
    assert shown.seen["errors"] == []  # type: ignore[attr-defined]


def opened(page: Page, served: dict[str, Any]) -> Page:
    seen: dict[str, list[str]] = {"elsewhere": [], "errors": []}
    page.seen = seen  # type: ignore[attr-defined]
    page.set_default_timeout(PATIENCE_MS)

    def request(made: Any) -> None:
        if not made.url.startswith(LOCAL):
            seen["elsewhere"].append(made.url)

    def said(message: Any) -> None:
        if message.type == "error":
            seen["errors"].append(message.text)

    page.on("request", request)
    page.on("websocket", request)
    page.on("console", said)
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(served["url"])
    expect(asked(page)).to_contain_text("Asked:", timeout=PATIENCE_MS)
    return page


def asked(page: Page) -> Locator:
    return page.locator(".summary")


def enter(page: Page, name: str, value: str) -> None:
    field = page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(value)
    field.press("Tab")


def generate(page: Page) -> None:
    page.get_by_role("button", name="Generate").click()
    expect(page.get_by_text("Made, checked and saved.")).to_be_visible(timeout=PATIENCE_MS)


def violations(page: Page) -> list[str]:
    """What axe-core finds serious or critical."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"][:3]
    ]


def test_a_clinician_asks_generates_listens_checks_and_exports(page, served, tmp_path):
    page.get_by_label("Goal", exact=False).first.select_option("sleep")
    expect(asked(page)).to_contain_text("from 70 to 50 beats per minute")
    enter(page, "Length", "0.4")
    page.get_by_role("combobox", name="Key", exact=True).select_option("D")
    page.get_by_role("checkbox", name="cello").check()
    expect(asked(page)).to_contain_text("24 s, from 70 to 50 beats per minute, D major")
    expect(asked(page)).to_contain_text("cello")

    generate(page)
    sound = page.locator(".player audio")
    expect(sound).to_have_count(1)
    sound.evaluate("async (audio) => { await audio.play(); }")
    page.wait_for_function("document.querySelector('.player audio').currentTime > 0.5")
    head = page.locator(".player svg .head")
    first = head.get_attribute("transform")
    moved = "(old) => document.querySelector('.player .head').getAttribute('transform') != old"
    page.wait_for_function(moved, arg=first)
    expect(page.locator(".player svg")).to_contain_text("tempo")
    expect(page.locator(".player svg")).to_contain_text("loudness")
    page.get_by_role("button", name=re.compile("0:0[0-9] slower")).click()
    page.wait_for_function("document.querySelector('.player audio').currentTime > 3")

    expect(page.get_by_text(re.compile(r"\d+ of \d+ asked attributes met")).first).to_be_visible()
    page.get_by_role("button", name="Show the whole report").click()
    frame = page.frame_locator("iframe[title='Whole report']")
    expect(frame.get_by_role("heading", name="Conformance report")).to_be_visible()

    page.get_by_role("checkbox", name="MP3").check()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export as one zip").click()
    download.value.save_as(tmp_path / "take.zip")
    archive = zipfile.ZipFile(tmp_path / "take.zip")
    assert archive.testzip() is None
    names = {Path(name).name for name in archive.namelist()}
    assert names == {
        "track.flac", "track.mp3", "track.mid", "prescription.json", "report.json", "report.html",
        "label.html", "manifest.json",
    }  # fmt: skip
    archive.extractall(tmp_path)
    (folder,) = (path for path in tmp_path.iterdir() if path.is_dir())
    made = Prescription.from_json((folder / "prescription.json").read_bytes())
    assert (made.goal, made.duration_s, made.key) == ("sleep", 24, "D")
    assert "cello" in (made.instruments or ())
    for name in ("track.flac", "track.mp3"):
        samples, rate = audio.load(folder / name)
        assert samples.shape[1] / rate == pytest.approx(27, abs=0.2)
    assert violations(page) == []
