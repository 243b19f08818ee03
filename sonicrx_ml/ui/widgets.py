"""The widgets of the page: native HTML controls under anywidget, so that every one has its label.

A widget's script is `assets/<name>.js` after what all share. State is in traits; what a person does
comes as a message. Files go to the browser in parts that it asks for (`Sender`), so that no message
is large and none is sent for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeAlias

import anywidget
import traitlets

from sonicrx_ml.drawing import LEFT, RIGHT

PART_BYTES = 400_000
MIME = {".mp3": "audio/mpeg", ".flac": "audio/flac", ".wav": "audio/wav", ".zip": "application/zip",
        ".json": "application/json"}  # fmt: skip

Content: TypeAlias = bytes | Path
Find: TypeAlias = Callable[[str], Content | None]


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _script(*names: str) -> str:
    return "\n".join(_asset(f"{name}.js") for name in ("common", *names))


STYLE = _asset("style.css")


class Sender(anywidget.AnyWidget):
    """A widget that hands files to the browser.

    `find` : the file that a name stands for, None where there is none (any more).
    """

    def __init__(self, find: Find | None = None, **traits: Any) -> None:
        super().__init__(**traits)
        self.find: Find = find or (lambda name: None)
        self.on_msg(self._asked)

    def _asked(self, _: object, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        if "want" in message:
            self._send_part(str(message["want"]), int(message["at"]))
        else:
            self.told(message, buffers)

    def told(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        """What else a person did; subclasses say."""

    def _send_part(self, name: str, at: int) -> None:
        content = self.find(name)
        if content is None or (isinstance(content, Path) and not content.is_file()):
            self.send({"file": name, "at": at, "total": None})
            return
        if isinstance(content, Path):
            total = content.stat().st_size
            with content.open("rb") as file:
                file.seek(at)
                part = file.read(PART_BYTES)
        else:
            total, part = len(content), content[at : at + PART_BYTES]
        mime = MIME.get(Path(name).suffix, "application/octet-stream")
        self.send({"file": name, "at": at, "total": total, "mime": mime}, [part])


class Form(Sender):
    """Groups of fields (see `fields`); `changed(name, value)` is called with what is entered."""

    _esm = _script("curve", "form")
    schema: Any = traitlets.List().tag(sync=True)
    values = traitlets.Dict().tag(sync=True)
    marks = traitlets.Dict().tag(sync=True)
    """Name -> mark of evidence, and why the value is what it is."""
    errors = traitlets.Dict().tag(sync=True)
    """Name -> why what is entered cannot be asked."""
    seconds = traitlets.Float(0.0).tag(sync=True)
    """Length of the music, the time axis of curves."""
    answered = traitlets.Int(0).tag(sync=True)
    """The last entry that `values` know of; what is entered since, the browser goes on showing."""

    def __init__(self, schema: list[dict[str, Any]], find: Find | None = None) -> None:
        super().__init__(find, schema=schema)
        self.changed: Callable[[str, Any], None] = lambda name, value: None
        self.uploaded: Callable[[str, str, bytes], None] = lambda name, file, content: None
        self.refused: Callable[[str, str], None] = lambda name, why: None

    def told(self, message: Mapping[str, Any], buffers: list[bytes]) -> None:
        name = str(message["field"])
        if "upload" in message:
            self.uploaded(name, str(message["upload"]), bytes(buffers[0]))
        elif "refused" in message:
            self.refused(name, str(message["refused"]))
        else:
            try:
                self.changed(name, message["value"])
            finally:
                self.answered = int(message["entry"])


class Actions(Sender):
    """Buttons with progress; `on[name]()` is called when one is pressed."""

    _esm = _script("actions")
    buttons: Any = traitlets.List().tag(sync=True)
    """(name, text, style) of each; one named cancel shows only while it is busy."""
    enabled: Any = traitlets.List().tag(sync=True)
    busy = traitlets.Bool(False).tag(sync=True)
    share = traitlets.Float(-1.0).tag(sync=True)
    """Of the work that is done; below 0 where it is not known."""
    text = traitlets.Unicode("").tag(sync=True)
    alarm = traitlets.Unicode("").tag(sync=True)
    guard = traitlets.Bool(False).tag(sync=True)
    """Whether leaving the page while busy is asked about."""
    pressed = traitlets.Int(0).tag(sync=True)
    heard = traitlets.Int(0).tag(sync=True)
    """The last press that arrived: silence shows where the kernel is gone."""

    def __init__(self, buttons: list[tuple[str, str, str]], **traits: Any) -> None:
        super().__init__(buttons=[list(button) for button in buttons], **traits)
        self.on: dict[str, Callable[[], object]] = {}
        self.observe(lambda change: self.set_trait("heard", change["new"]), "pressed")

    def told(self, message: Mapping[str, Any], _: list[bytes]) -> None:
        name = str(message["press"])
        if name in self.enabled:
            self.on[name]()


class Player(Sender):
    """A take to hear and to see."""

    _esm = _script("player")
    name = traitlets.Unicode("").tag(sync=True)
    summary = traitlets.Unicode("").tag(sync=True)
    sound = traitlets.Unicode("").tag(sync=True)
    """Name of the file to fetch; another name is another sound."""
    figure = traitlets.Unicode("").tag(sync=True)
    """SVG of `drawing`, over the seconds of the sound."""
    marks: Any = traitlets.List().tag(sync=True)
    """(second, name) of what begins there."""
    axis = traitlets.List([LEFT, RIGHT]).tag(sync=True)
    keepable = traitlets.Bool(False).tag(sync=True)
    kept = traitlets.Bool(False).tag(sync=True)

    def __init__(self, find: Find | None = None, **traits: Any) -> None:
        super().__init__(find, **traits)
        self.keep: Callable[[], None] = lambda: None

    def told(self, message: Mapping[str, Any], _: list[bytes]) -> None:
        if message.get("keep"):
            self.keep()


class Keeper(Sender):
    """What this tab of the browser remembers, and its downloads."""

    _esm = _script("keeper")
    _css = STYLE
    found = traitlets.Dict().tag(sync=True)
    """What the tab had remembered: visitor and draft."""
    visitor = traitlets.Unicode("").tag(sync=True)
    draft = traitlets.Dict().tag(sync=True)
    download = traitlets.Unicode("").tag(sync=True)
    """Name of a file for the browser's downloads."""
