"""The frame that the pages share: one HTML file that asks the network for nothing.

Style and script are inline; a policy in the head has a browser refuse whatever would leave the
file. Text from outside is escaped by whoever puts it in.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5d6876;--line:#dfe4ea;--paper:#fff;
--card:#f6f8fa;--pass:#00629b;--fail:#b84a00}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf1;--soft:#9aa6b4;--line:#333c47;
--paper:#14191f;--card:#1c232b;--pass:#56b4e9;--fail:#f0a35e}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2rem 1.25rem 3rem;max-width:66rem;color:var(--ink);
background:var(--paper);font:15px/1.5 system-ui,sans-serif}
h1{font-size:1.5rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .5rem}
p{margin:.3rem 0;overflow-wrap:anywhere}.soft,small{color:var(--soft)}
.score{font-size:1.15rem;margin:1rem 0 .2rem}.score b{font-size:1.9rem}
.note{border-left:3px solid var(--line);padding:.1rem .8rem;margin:1rem 0}
audio{width:100%;margin:1rem 0 0}
.scroll{overflow-x:auto}.scroll svg{display:block;width:100%;min-width:640px;height:auto}
.seek{cursor:pointer}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.34rem .6rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{font-size:.8rem;color:var(--soft);font-weight:600}
tbody th{font-weight:500;white-space:nowrap}
td.verdict{white-space:nowrap;font-weight:600}
.pass{color:var(--pass)}.fail{color:var(--fail)}
tr.open,tr.open th{color:var(--soft)}tr.open td.verdict{font-weight:400}
details{margin:1rem 0}summary{cursor:pointer;font-weight:600}
.flag{display:block;color:var(--fail);white-space:normal;font-weight:400}
pre{background:var(--card);padding:.8rem;border-radius:6px;overflow-x:auto}
@media print{body{max-width:none;padding:0}audio,.head{display:none}}
"""


def frame(title: str, body: str, style: str, *, script: bool = False) -> str:
    """A whole page. `body` is HTML; `script`: whether scripts within it may run."""
    may_run = "script-src 'unsafe-inline'; " if script else ""
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; {may_run}media-src data:; img-src data:"
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{style}</style>
</head>
<body>
{body}
</body>
</html>
"""


def table(titles: Iterable[str], rows: Iterable[str]) -> str:
    """A table that scrolls where it is too wide; `rows` are HTML, titles are text."""
    head = "".join(f"<th scope='col'>{escape(title)}</th>" for title in titles)
    body = "\n".join(rows)
    return (
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def shown(value: float | str | None) -> str:
    """A number with as many digits as matter to a reader."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    digits = 1 if abs(value) >= 10 else 2
    text = f"{value + 0.0:.{digits}f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
