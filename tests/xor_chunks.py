"""Prometheus' XOR chunks written and read one sample at a time, bit by bit: what the vectorised decoder is compared with."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

Sample = tuple[int, float]
"""A time in unix milliseconds and a value."""

STALE = struct.unpack(">d", bytes.fromhex("7ff0000000000002"))[0]

_MASK = (1 << 64) - 1
_CHANGES = ((0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20))


def bits_of(value: float) -> int:
    return int(struct.unpack(">Q", struct.pack(">d", value))[0])


def uvarint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


class _Writer:
    def __init__(self) -> None:
        self.text: list[str] = []

    def write(self, number: int, width: int) -> None:
        self.text.append(format(number & ((1 << width) - 1), f"0{width}b"))

    def write_bytes(self, content: bytes) -> None:
        for byte in content:
            self.write(byte, 8)

    def content(self) -> bytes:
        text = "".join(self.text)
        text += "0" * (-len(text) % 8)
        return int(text or "0", 2).to_bytes(len(text) // 8, "big")


def encode(samples: Sequence[Sample]) -> bytes:
    """A chunk as Prometheus writes it."""
    writer = _Writer()
    writer.write(len(samples), 16)
    difference, leading, trailing = 0, None, 0
    for number, (time, value) in enumerate(samples):
        if number == 0:
            writer.write_bytes(uvarint((time << 1 ^ time >> 63) & _MASK))
            writer.write(bits_of(value), 64)
            continue
        now = time - samples[number - 1][0]
        if number == 1:
            writer.write_bytes(uvarint(now))
        else:
            _write_change(writer, now - difference)
        difference = now
        leading, trailing = _write_value(writer, bits_of(value) ^ bits_of(samples[number - 1][1]), leading, trailing)
    return writer.content()


def _write_change(writer: _Writer, change: int) -> None:
    if change == 0:
        writer.write(0, 1)
        return
    for prefix, length, width in _CHANGES:
        if -(1 << (width - 1)) + 1 <= change <= 1 << (width - 1):
            writer.write(prefix, length)
            writer.write(change, width)
            return
    writer.write(0b1111, 4)
    writer.write(change, 64)


def _write_value(writer: _Writer, xor: int, leading: int | None, trailing: int) -> tuple[int | None, int]:
    if xor == 0:
        writer.write(0, 1)
        return leading, trailing
    new_leading = min(64 - xor.bit_length(), 31)
    new_trailing = (xor & -xor).bit_length() - 1
    if leading is not None and new_leading >= leading and new_trailing >= trailing:
        writer.write(0b10, 2)
        writer.write(xor >> trailing, 64 - leading - trailing)
        return leading, trailing
    window = 64 - new_leading - new_trailing
    writer.write(0b11, 2)
    writer.write(new_leading, 5)
    writer.write(window, 6)
    writer.write(xor >> new_trailing, window)
    return new_leading, new_trailing


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._number = int.from_bytes(content, "big")
        self._left = len(content) * 8

    def read(self, width: int) -> int:
        self._left -= width
        if self._left < 0:
            raise ValueError("cut off")
        return self._number >> self._left & ((1 << width) - 1)

    def uvarint(self) -> int:
        number = shift = 0
        while (byte := self.read(8)) > 127:
            number |= (byte & 127) << shift
            shift += 7
        return (number | byte << shift) & _MASK


def decode(content: bytes) -> list[Sample]:
    """The samples of a chunk. Raises ValueError where it is cut off."""
    reader = _Reader(content)
    samples: list[Sample] = []
    time = difference = value = leading = trailing = 0
    for number in range(reader.read(16)):
        if number == 0:
            zigzag = reader.uvarint()
            time, value = zigzag >> 1 ^ -(zigzag & 1), reader.read(64)
        else:
            difference = reader.uvarint() if number == 1 else difference + _read_change(reader)
            time += difference
            if reader.read(1):
                if reader.read(1):
                    leading = reader.read(5)
                    trailing = 64 - leading - (reader.read(6) or 64)
                value ^= reader.read(64 - leading - trailing) << trailing
        samples.append((time, struct.unpack(">d", struct.pack(">Q", value))[0]))
    return samples


def _read_change(reader: _Reader) -> int:
    ones = 0
    while ones < 4 and reader.read(1):
        ones += 1
    if ones == 0:
        return 0
    width = (14, 17, 20, 64)[ones - 1]
    raw = reader.read(width)
    if width == 64:
        return raw - (1 << 64) if raw >> 63 else raw
    return raw - (1 << width) if raw > 1 << (width - 1) else raw


def same(left: Iterable[Sample], right: Iterable[Sample]) -> bool:
    """Bit by bit, so that NaN equals itself and 0 is not -0."""
    return [(time, bits_of(value)) for time, value in left] == [(time, bits_of(value)) for time, value in right]
