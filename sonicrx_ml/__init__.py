"""SonicRx: music composed, rendered and judged to a sonic prescription."""

from contextlib import redirect_stdout

with redirect_stdout(None):  # pyfluidsynth, which it imports, prints where $CI is set
    import pretty_midi  # noqa: F401

__version__ = "0.1.0"
