"""Serve the clinician's notebook as a web page: `python -m sonicrx_ml.ui.serve`.

Only this machine reaches it (127.0.0.1), and only with the token in the address that is printed.
Every visitor has a kernel of their own, which ends when the page is closed, or when nobody used it
for a while: what was chosen and made is there again when the page is loaded anew. The page asks
nothing of the network, and a policy has the browser refuse whatever would.
"""

from __future__ import annotations

import argparse
import os
import secrets
import socket
from pathlib import Path
from typing import Any

NOTEBOOK = Path("notebooks/clinician.ipynb")
PORT, PORTS = 8866, 50  # where to begin, and how many to try
IDLE_MINUTES = 120
CULL_SECONDS = 60  # between looks at who is idle
SHARE = Path(__file__).parent / "share"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' ws://127.0.0.1:* ws://localhost:* blob: data:; "
    "frame-src 'self' data: blob:; object-src 'none'; frame-ancestors 'none'; base-uri 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def settings(
    port: int, token: str, idle_minutes: float, browser: bool
) -> dict[str, dict[str, Any]]:
    """What Voila is told, by class and trait."""
    idle = max(1, round(60 * idle_minutes))
    return {
        "Voila": {
            "ip": "127.0.0.1",
            "port": port,
            "port_retries": 0,  # on another one the printed address would be wrong
            "token": token,
            "open_browser": browser,
            "log_level": "ERROR",
            "tornado_settings": {"headers": HEADERS},
        },
        "VoilaConfiguration": {
            "template": "sonicrx",
            "allow_template_override": "NO",
            "allow_theme_override": "NO",
            "file_allowlist": [],
            "prelaunch_hook": give_form_token,
        },
        "MappingKernelManager": {
            "cull_idle_timeout": idle,
            "cull_interval": min(CULL_SECONDS, max(1, idle // 2)),
            "cull_connected": True,
        },
        # Kernels are reached by sockets of the file system, not over TCP, which is in plain text.
        "KernelManager": {"transport": "ipc"},
        # Sound goes to the page in parts that it asks for: no flood to be held back.
        "ZMQChannelsWebsocketConnection": {"limit_rate": False},
    }


def give_form_token(request: Any, **_: Any) -> None:
    """Have the visitor given the cookie whose value a page sends back when it ends its kernel.

    request : Tornado's handler of the page, before anything is sent. Whoever comes with the token
        in the address would not get it else, and the server would refuse the end.
    """
    _ = request.xsrf_token  # to read it sets the cookie


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m sonicrx_ml.ui.serve", description=__doc__)
    parser.add_argument("--notebook", type=Path, default=NOTEBOOK)
    parser.add_argument("--port", type=int, default=PORT, help="or the next one that is free")
    parser.add_argument("--idle-minutes", type=float, default=IDLE_MINUTES,
                        help="after which a kernel that nobody uses ends")  # fmt: skip
    parser.add_argument("--browser", action="store_true", help="open a browser, too")
    given = parser.parse_args()
    if not given.notebook.is_file():
        parser.error(f"notebook {str(given.notebook)!r}; legal is the path of a notebook")
    # Voila looks for templates, and the kernel for its own, along this path.
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(SHARE), os.environ.get("JUPYTER_PATH")])
    )
    try:
        port = free_port(given.port)
    except ValueError as error:
        parser.error(str(error))
    serve(given.notebook, port, secrets.token_urlsafe(24), given.idle_minutes, given.browser)


def free_port(first: int) -> int:
    """The first port from `first` on that nobody listens on. Raises `ValueError` where none is."""
    legal = range(max(first, 1), min(first + PORTS, 65_536))
    for port in legal:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise ValueError(f"no port from {first} on is free; legal are 1 to 65535")


def serve(notebook: Path, port: int, token: str, idle_minutes: float, browser: bool) -> None:
    """Serve until interrupted."""
    from traitlets.config import Config
    from voila.app import Voila

    print(f"Open http://127.0.0.1:{port}/?token={token}", flush=True)
    print("Ctrl-C ends it. Whoever has the token may use the page.", flush=True)
    told = Config(settings(port, token, idle_minutes, browser))
    Voila.launch_instance(argv=[str(notebook)], config=told)


if __name__ == "__main__":
    main()
