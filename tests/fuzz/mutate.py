"""Byte mutations of small files, seeded."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

#: Bytes that mean something to the formats: varint edges, tags of caffemodels, punctuation of prototxts.
_TELLING = bytes([0x00, 0x01, 0x7F, 0x80, 0xFF, 0x0A, 0x12, 0x32, 0x3A, 0x2A, 0x2D, 0x0B, 0x0C, 0x0D, 0x08, 0x41, 0x09])


def mutations(corpus: Sequence[bytes], count: int, seed: int, telling: bytes = _TELLING) -> Iterator[bytes]:
    """``count`` files made from ``corpus`` by one to eight changes each."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
            _change(data, corpus, chance, telling)
        yield bytes(data)


def _change(data: bytearray, corpus: Sequence[bytes], chance: random.Random, telling: bytes) -> None:
    # most of a file is values: half of the changes go where the structure is, near the beginning or the end
    size = len(data)
    at = chance.randrange(size + 1) if size else 0
    if chance.random() < 0.5:
        at = min(at, chance.randrange(100)) if chance.random() < 0.5 else max(0, size - chance.randrange(1, 200))
    kind = chance.randrange(7)
    if kind == 0 and at < size:
        data[at] = chance.randrange(256)
    elif kind == 1 and at < size:
        data[at] = chance.choice(telling)
    elif kind == 2 and at < size:
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 3:
        data[at:at] = bytes(chance.choice(telling) for _ in range(chance.randrange(1, 12)))
    elif kind == 4:
        del data[at : at + chance.choice((1, 1, 2, 4, 16, 300))]
    elif kind == 5:
        other = chance.choice(corpus)
        start = chance.randrange(len(other) + 1)
        data[at:at] = other[start : start + chance.randrange(1, 200)]
    else:
        del data[at:]
