"""SonicRx: music composed, rendered and judged to a sonic prescription."""

__version__ = "0.1.0"
