"""The served page, driven in a real browser: what a clinician does, and what must not happen."""

from __future__ import annotations

import json
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
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

ROOT = Path(__file__).parent.parent
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)  # fmt: skip
PATIENCE_MS = 240_000
expect.set_options(timeout=PATIENCE_MS)
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
        process.wait(60)
        process.stdout.close()
        log.close()


def _wait_until_answered(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            answered(url)
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise AssertionError("the page is not served")


def answered(url: str) -> str:
    """What the server says, a refusal too."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return str(refusal.read().decode())


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
    seen: dict[str, list[str]] = {"elsewhere": [], "errors": [], "dialogs": [], "stay": []}
    page.seen = seen  # type: ignore[attr-defined]
    page.set_default_timeout(PATIENCE_MS)

    def request(made: Any) -> None:
        if not made.url.startswith(LOCAL):
            seen["elsewhere"].append(made.url)

    def said(message: Any) -> None:
        if message.type == "error":
            seen["errors"].append(message.text)

    def answer(dialog: Any) -> None:
        seen["dialogs"].append(dialog.type)
        dialog.dismiss() if seen["stay"] else dialog.accept()

    page.on("request", request)
    page.on("websocket", request)
    page.on("console", said)
    page.on("pageerror", lambda error: seen["errors"].append(str(error)))
    page.on("dialog", answer)
    page.goto(served["url"])
    expect(asked(page)).to_contain_text("Asked:")
    return page


def asked(page: Page) -> Locator:
    return page.locator(".summary")


def enter(page: Page, name: str, value: str) -> None:
    field = page.get_by_role("spinbutton", name=name, exact=True)
    field.fill(value)
    field.press("Tab")


def kernel_of(page: Page) -> str:
    return str(json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"])


def is_running(kernel: str, served: dict[str, Any]) -> bool:
    token = served["url"].partition("?")[2]
    return "execution_state" in answered(
        f"http://127.0.0.1:{served['port']}/api/kernels/{kernel}?{token}"
    )


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
    page.get_by_text("Level and takes").click()
    page.get_by_role("combobox", name="Tries for each phrase").select_option("1")
    expect(asked(page)).to_contain_text("24 s, from 70 to 50 beats per minute, D major")
    expect(asked(page)).to_contain_text("cello")

    generate(page)
    sound = page.locator(".sonicrx-takes .player audio")
    expect(sound).to_have_count(1)
    sound.evaluate("async (audio) => { await audio.play(); }")
    page.wait_for_function(
        "document.querySelector('.sonicrx-takes .player audio').currentTime > 0.5"
    )
    head = page.locator(".sonicrx-takes .player svg .head")
    first = head.get_attribute("transform")
    moved = (
        "(old) => document.querySelector('.sonicrx-takes .player .head')"
        ".getAttribute('transform') != old"
    )
    page.wait_for_function(moved, arg=first)
    expect(page.locator(".sonicrx-takes .player svg")).to_contain_text("tempo")
    expect(page.locator(".sonicrx-takes .player svg")).to_contain_text("loudness")
    page.get_by_role("button", name=re.compile("0:0[0-9] slower")).click()
    page.wait_for_function("document.querySelector('.sonicrx-takes .player audio').currentTime > 3")

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


def test_without_the_token_there_is_no_page(served):
    for path in ("/", "/voila/render/clinician.ipynb", "/voila/files/clinician.ipynb"):
        assert "ClinicianPage" not in answered(f"http://127.0.0.1:{served['port']}{path}")
    home = urllib.request.urlopen(f"http://127.0.0.1:{served['port']}/")
    assert "/login" in home.url
    home.close()
    for address in socket.gethostbyname_ex(socket.gethostname())[2]:
        if not address.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((address, served["port"]), 2):  # noqa: PT011
                pass


def test_what_is_entered_in_haste_is_not_lost(page):
    """Before the first of three entries can have been answered."""
    page.evaluate(
        "() => { for (const name of ['celesta', 'cello', 'oboe'])"
        "document.querySelector(`[data-field=instruments] input[id$='-${name}']`).click(); }"
    )
    for name in ("celesta", "cello", "oboe"):
        expect(page.get_by_role("checkbox", name=name, exact=True)).to_be_checked()
        expect(asked(page)).to_contain_text(name)


def test_a_curve_is_drawn_and_what_is_illegal_is_refused(page):
    tempo = page.locator("[data-field=tempo]")
    first = tempo.get_by_role("slider").first
    box = first.bounding_box()
    assert box is not None
    centre = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*centre)
    page.mouse.down()
    page.mouse.move(centre[0], centre[1] - 20, steps=4)
    page.mouse.up()
    expect(asked(page)).not_to_contain_text("from 84 to 60")
    expect(asked(page)).to_contain_text(re.compile(r"from (9\d|1\d\d) to 60 beats"))
    points = tempo.get_by_role("slider").count()
    picture = tempo.locator("svg")
    picture.dblclick(position={"x": 250, "y": 40})
    expect(tempo.get_by_role("slider")).to_have_count(points + 1)
    tempo.get_by_role("button", name="Remove the chosen point").click()
    expect(tempo.get_by_role("slider")).to_have_count(points)
    expect(tempo.locator(".mark")).to_have_text("own")

    for name, illegal, legal, said in (
        ("Length", "0.05", "0.5", "legal are 10 to 7200 s"),
        ("Length", "", "1", "legal are 10 to 7200 s"),
        ("Length", "1e9", "1", "legal are 10 to 7200 s"),
    ):
        enter(page, name, illegal)
        expect(page.locator(".sonicrx-page .alert")).to_contain_text(said)
        expect(page.get_by_role("button", name="Generate")).to_be_disabled()
        field = page.locator("[data-field=minutes]")
        expect(field.get_by_role("alert")).to_contain_text(said)
        enter(page, name, legal)
        expect(page.get_by_role("button", name="Generate")).to_be_enabled()
    page.get_by_text("Level and takes").click()
    enter(page, "Take number", "-3")
    expect(page.locator(".sonicrx-page .alert")).to_contain_text("seed -3")
    enter(page, "Take number", "3")
    expect(asked(page)).to_be_visible()


def test_an_instrument_is_heard_a_listener_screened_a_manifest_restored(page, served, tmp_path):
    with page.expect_console_message(lambda m: m.text == "heard"):
        page.evaluate(
            "() => { const play = HTMLMediaElement.prototype.play;"
            "HTMLMediaElement.prototype.play = function () { console.log('heard');"
            "return play.call(this); }; }"
        )
        page.get_by_role("button", name="Hear harp", exact=True).click()

    page.locator("summary", has_text="Pseudonym and measures").click()
    page.get_by_role("textbox", name="Pseudonym").fill("P07")
    page.get_by_role("textbox", name="Pseudonym").press("Tab")
    expect(page.locator(".sonicrx-page .alert")).to_contain_text("first needs an answer")
    expect(page.get_by_role("button", name="Generate")).to_be_disabled()
    page.locator("summary", has_text="Safety screen").click()
    questions = page.locator(".field.radio:has(legend:has-text('?'))")
    for index in range(questions.count()):
        questions.nth(index).get_by_label("no", exact=True).check()
    tinnitus = page.locator("[data-field=tinnitus]")
    tinnitus.get_by_label("yes", exact=True).check()
    expect(page.locator(".sonicrx-page .alert")).to_contain_text("write who and why")
    page.get_by_role("textbox", name="A clinician's override").fill("Dr B: present throughout")
    page.get_by_role("textbox", name="A clinician's override").press("Tab")
    expect(page.locator("ul.warnings")).to_contain_text("⚠")
    expect(page.get_by_role("button", name="Generate")).to_be_enabled()

    enter(page, "Length", "0.3")
    page.get_by_text("Level and takes").click()
    page.get_by_role("combobox", name="Tries for each phrase").select_option("1")
    page.get_by_role("combobox", name="Takes to compare").select_option("2")
    generate(page)
    expect(page.locator(".sonicrx-takes .player")).to_have_count(2)
    page.get_by_role("button", name="Keep this take").click()
    expect(page.get_by_role("button", name="Kept: this take")).to_have_count(1)

    before = page.locator("[data-field=suds_before]")
    before.get_by_label("7", exact=True).check()
    page.locator("[data-field=suds_after]").get_by_label("4", exact=True).check()
    page.get_by_role("button", name="Save the session").click()
    expect(page.get_by_text("Saved as session 1 of P07")).to_be_visible()
    expect(page.locator(".chart svg")).to_be_visible()
    assert (served["journals"] / "P07.sqlite").is_file()

    (folder,) = {path.parent.parent for path in served["tracks"].glob("*/*/manifest.json")
                 if "P07" in path.read_text()}  # fmt: skip
    manifest = max(folder.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
    page.get_by_role("combobox", name="Goal", exact=True).select_option("focus")
    expect(asked(page)).to_contain_text("30 minutes")
    page.locator("summary", has_text="Make a track again").click()
    page.get_by_label("Make this again").set_input_files(manifest.with_name("prescription.json"))
    expect(asked(page)).to_contain_text("18 s, from 84 to 60 beats per minute")
    expect(page.get_by_role("combobox", name="Goal", exact=True)).to_have_value("anxiety")
    assert violations(page) == []


def test_cancelled_half_way_and_loaded_anew_nothing_is_lost(page, browser, served):
    page.get_by_role("combobox", name="Goal", exact=True).select_option("grief")
    enter(page, "Length", "1.5")
    generate_button = page.get_by_role("button", name="Generate")
    generate_button.click()
    sound = page.locator(".sonicrx-takes .player audio")
    expect(sound).to_have_count(1)  # the first seconds, before the whole is done
    sound.evaluate("async (audio) => { await audio.play(); }")
    page.wait_for_function("document.querySelector('.sonicrx-takes .player audio').currentTime > 1")
    assert page.get_by_role("progressbar").first.get_attribute("value") != "1"
    page.seen["stay"].append("when asked")
    page.evaluate("location.reload()")
    until = time.monotonic() + PATIENCE_MS / 1000
    while not page.seen["dialogs"] and time.monotonic() < until:
        page.wait_for_timeout(200)
    assert page.seen["dialogs"] == ["beforeunload"]
    page.seen["stay"].clear()
    enter(page, "Length", "1.25")  # the page answers meanwhile
    expect(asked(page)).to_contain_text("1 minute 15 s")
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled; only takes that were whole are kept.")).to_be_visible()
    expect(sound).to_have_count(0)

    enter(page, "Length", "0.25")
    generate(page)
    enter(page, "Length", "1.5")
    generate_button.click()
    expect(page.get_by_role("button", name="Cancel")).to_be_enabled()
    kernel = kernel_of(page)
    assert is_running(kernel, served)
    page.reload()
    expect(page.get_by_text("The page was loaded anew while a take was made")).to_be_visible()
    expect(asked(page)).to_contain_text("1 minute 30 s")
    expect(page.get_by_role("combobox", name="Goal", exact=True)).to_have_value("grief")
    expect(page.locator(".sonicrx-takes .player audio")).to_have_count(1)  # the take that was made
    page.wait_for_function("document.querySelector('.sonicrx-takes .player audio').readyState >= 1")

    page.wait_for_timeout(8_000)  # who does not end when told to is ended after 5 s
    assert not is_running(kernel, served)
    assert is_running(kernel_of(page), served)

    other = opened(browser.new_context().new_page(), served)
    expect(other.get_by_text("Nothing has been made yet.")).to_be_visible()
    expect(other.get_by_role("combobox", name="Goal", exact=True)).to_have_value("anxiety")
    expect(other.locator(".sonicrx-takes .player")).to_have_count(0)
    other.context.close()


def test_it_is_used_with_the_keyboard_alone(page):
    def tab_to(target: Locator) -> None:
        for _ in range(250):
            if target.evaluate("(node) => node === document.activeElement"):
                return
            page.keyboard.press("Tab")
        raise AssertionError(f"{target} is not reached with Tab")

    tab_to(page.get_by_role("combobox", name="Goal", exact=True))
    page.keyboard.type("Unw")
    page.keyboard.press("Tab")
    expect(page.get_by_role("combobox", name="Goal", exact=True)).not_to_have_value("anxiety")
    tab_to(page.get_by_role("spinbutton", name="Length", exact=True))
    page.keyboard.press("Control+A")
    page.keyboard.type("0.25")
    page.keyboard.press("Tab")
    expect(asked(page)).to_contain_text("15 s")
    point = page.locator("[data-field=tempo]").get_by_role("slider").first
    tab_to(point)
    before = float(point.get_attribute("aria-valuenow") or 0)
    for key in ("ArrowUp", "ArrowUp", "ArrowUp"):
        page.keyboard.press(key)
    expect(asked(page)).to_contain_text(f"from {before + 3:g} to")
    page.keyboard.press("Enter")
    expect(page.locator("[data-field=tempo] .mark")).to_have_text("own")
    tab_to(page.get_by_role("button", name="Generate"))
    page.keyboard.press("Enter")
    expect(page.get_by_text("Made, checked and saved.")).to_be_visible(timeout=PATIENCE_MS)
    tab_to(page.locator(".sonicrx-takes .player audio"))
    page.keyboard.press("Space")
    page.wait_for_function(
        "document.querySelector('.sonicrx-takes .player audio').currentTime > 0.3"
    )
    page.keyboard.press("Space")
    tab_to(page.get_by_role("button", name="Show the whole report"))
    page.keyboard.press("Space")
    expect(page.locator("iframe[title='Whole report']")).to_be_visible()
    with page.expect_download() as download:
        tab_to(page.get_by_role("button", name="Export as one zip"))
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".zip")


@pytest.mark.parametrize(
    ("colours", "width"), [("dark", 1280), ("light", 768), ("light", 640)], ids=str
)
def test_it_is_readable_in_the_dark_on_a_tablet_and_at_200_percent(browser, served, colours, width):
    context = browser.new_context(color_scheme=colours, viewport={"width": width, "height": 800})
    page = opened(context.new_page(), served)
    for summary in page.locator("summary").all():
        summary.click()
    widest = (
        "Math.max(...[...document.querySelectorAll('.sonicrx-page *')].filter((node) => "
        "!node.closest('.scroll')).map((node) => node.getBoundingClientRect().right))"
    )
    assert page.evaluate(widest) <= width
    assert violations(page) == []
    context.close()
