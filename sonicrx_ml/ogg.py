"""Ogg streams without chance: libsndfile numbers each stream at random, so equal sound differs.

A page (RFC 3533, section 6): `OggS`, version, type, position (8 bytes), number of the stream (4),
number of the page (4), checksum (4), count of segments, their sizes, and what is in them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

SERIAL, CHECKSUM, SEGMENTS = slice(14, 18), slice(22, 26), 26
HEADER = 27  # bytes before the sizes of the segments
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def renumber(path: Path) -> None:
    """Give the one stream of an Ogg file the number 0, in place.

    Raises `ValueError` where the file is no Ogg.
    """
    whole = bytearray(path.read_bytes())
    for start, end in list(_pages(whole)):
        page = whole[start:end]
        page[SERIAL] = page[CHECKSUM] = bytes(4)
        page[CHECKSUM] = checksum(page).to_bytes(4, "little")
        whole[start:end] = page
    path.write_bytes(whole)


def _pages(whole: bytes | bytearray) -> Iterator[tuple[int, int]]:
    """First byte of each page, and the one after its last."""
    start = 0
    while start < len(whole):
        if whole[start : start + 4] != b"OggS":
            raise ValueError(f"no page of Ogg at byte {start}; legal is a whole Ogg file")
        sizes = start + HEADER
        segments = whole[start + SEGMENTS]
        end = sizes + segments + sum(whole[sizes : sizes + segments])
        yield start, end
        start = end


def checksum(page: bytes | bytearray) -> int:
    """CRC-32 of a page whose own checksum is 0: polynomial 0x04c11db7, start and end 0.

    It is `zlib`'s, which takes the bits of each byte the other way round and inverts both ends.
    """
    ones = 0xFFFFFFFF
    mirrored = zlib.crc32(page.translate(REVERSED), ones) ^ ones
    return int.from_bytes(mirrored.to_bytes(4, "little").translate(REVERSED), "big")
