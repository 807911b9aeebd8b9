"""A strict, bounds-checked walk over protobuf's wire format.

It takes a buffer apart into fields without a schema and without copying: who calls it picks the fields it knows. What
protobuf's own parser refuses is refused: ends outside the enclosing message, overlong varints, field number 0, unknown
wire types, groups without an end, nesting beyond 100.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, LENGTH, START_GROUP, END_GROUP, FIXED32 = range(6)  # protobuf's wire types

MAX_DEPTH = 100  # protobuf's limit for messages and groups inside each other
MAX_FIELDS = 300_000  # a file of a thousand layers has some twenty thousand; bounds the time that a hostile one takes

#: number, wire type, and two values: VARINT: the value, 0; LENGTH: start and end of the bytes; FIXED32 and FIXED64:
#: start of the first value and how many records (tag and value) of this field follow each other.
Field = tuple[int, int, int, int]


class WireError(ValueError):
    """The buffer is not a message; ``offset`` is where that shows."""

    def __init__(self, offset: int, message: str) -> None:
        super().__init__(message)
        self.offset = offset


class WireReader:
    """Walks the messages of one buffer, of which an index gives an int."""

    def __init__(self, data: memoryview) -> None:
        self.data = data
        self._bytes = np.frombuffer(data, np.uint8)
        self._fields_left = MAX_FIELDS

    def fields(self, start: int, end: int, depth: int) -> Iterator[Field]:
        """The fields of the message in ``data[start:end]``; unknown groups are checked and left out.

        Args:
            start, end: where the message lies.
            depth: how many messages are around it; 0 for the whole file.

        Raises:
            WireError: as the module says.
        """
        data = self.data
        position = start
        if depth > MAX_DEPTH:
            raise WireError(start, f"messages are nested more than {MAX_DEPTH} deep")
        while position < end:
            at = position
            tag = data[position]
            position += 1
            if tag >= 0x80:
                tag, position = self.varint(at, end, size=5)
            number, wire = tag >> 3, tag & 7
            self._fields_left -= 1
            if not 0 < number < 1 << 29 or self._fields_left < 0:
                raise self._no_field(at, number)
            if wire == LENGTH:
                length = data[position] if position < end else 0x80
                position += 1
                if length >= 0x80:
                    length, position = self.varint(position - 1, end)
                if length > end - position:
                    raise self._cut(at, number, length, position, end)
                yield number, wire, position, position + length
                position += length
            elif wire == VARINT:
                value = data[position] if position < end else 0x80
                position += 1
                if value >= 0x80:
                    value, position = self.varint(position - 1, end)
                yield number, wire, value, 0
            elif wire in (FIXED32, FIXED64):
                size = 4 if wire == FIXED32 else 8
                if end - position < size:
                    raise self._cut(at, number, size, position, end)
                count = self._run(at, position, end, size) if position - at == 1 else 1
                yield number, wire, position, count
                position += count * (size + position - at) - (position - at)
            elif wire == START_GROUP:
                position = self._skip_group(number, position, end, depth)
            else:
                raise WireError(at, "a group ends that has not begun" if wire == END_GROUP else f"wire type {wire}")

    def varint(self, position: int, end: int, size: int = 10) -> tuple[int, int]:
        """The varint at ``position`` and the position after it; at most ``size`` bytes (5: 32 bits)."""
        data, value, shift = self.data, 0, 0
        for index in range(position, min(position + size, end)):
            byte = data[index]
            if byte < 0x80:
                value |= byte << shift
                if size == 5 and value >> 32:
                    break
                return value & (1 << 64) - 1, index + 1
            value |= (byte & 0x7F) << shift
            shift += 7
        if end - position < size and shift == 7 * (end - position):
            raise WireError(position, "a number is cut off")
        raise WireError(position, f"a number is longer than {size} bytes")

    def varints(self, start: int, end: int) -> list[int]:
        """The packed varints in ``data[start:end]``."""
        self._fields_left -= end - start
        if self._fields_left < 0:
            raise self._no_field(start, 0)
        encoded = bytes(self.data[start:end])
        if encoded.isascii():
            return list(encoded)  # all of one byte, as dims below 128 are
        values = []
        while start < end:
            value, start = self.varint(start, end)
            values.append(value)
        return values

    def _run(self, at: int, position: int, end: int, size: int) -> int:
        """How many records of the same one-byte tag and ``size`` value bytes begin at ``at``."""
        step = size + 1
        limit = (end - at) // step
        count, look = 1, 16
        while count < limit:
            tags = self._bytes[at + count * step : at + min(count + look, limit) * step : step]
            other = np.flatnonzero(tags != self.data[at])
            if other.size:
                return count + int(other[0])
            count += tags.size
            look = min(2 * look, 1 << 20)
        return count

    def _skip_group(self, number: int, position: int, end: int, depth: int) -> int:
        """The position after the group ``number`` whose content begins at ``position``."""
        open_groups = [number]
        while open_groups:
            if depth + len(open_groups) > MAX_DEPTH:
                raise WireError(position, f"groups are nested more than {MAX_DEPTH} deep")
            at = position
            tag, position = self.varint(position, end, size=5)
            number, wire = tag >> 3, tag & 7
            self._fields_left -= 1
            if not 0 < number < 1 << 29 or self._fields_left < 0:
                raise self._no_field(at, number)
            if wire == START_GROUP:
                open_groups.append(number)
            elif wire == END_GROUP:
                if open_groups.pop() != number:
                    raise WireError(at, f"group {number} ends that has not begun")
            elif wire == VARINT:
                _, position = self.varint(position, end)
            elif wire in (LENGTH, FIXED32, FIXED64):
                length = 4 if wire == FIXED32 else 8
                if wire == LENGTH:
                    length, position = self.varint(position, end)
                if length > end - position:
                    raise self._cut(at, number, length, position, end)
                position += length
            else:
                raise WireError(at, f"wire type {wire}")
        return position

    def _no_field(self, at: int, number: int) -> WireError:
        if self._fields_left < 0:
            return WireError(at, f"more than {MAX_FIELDS} fields")
        return WireError(at, f"field number {number} is not valid")

    def _cut(self, at: int, number: int, length: int, position: int, end: int) -> WireError:
        where = "the file is cut short" if end == len(self.data) else "its message is too short"
        return WireError(at, f"{where}: field {number} claims {length} bytes, {end - position} are left")
