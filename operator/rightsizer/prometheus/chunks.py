"""Prometheus' XOR chunks, many at a time: compressed samples of hundreds of series become arrays of times and values.

Step i decodes sample i of every chunk at once, so that Python's price of a step is shared by thousands of chunks. Pure; where the bytes
come from and what the samples mean is not known here. Whatever is not such a chunk raises UsageAnswerInvalid.

A chunk: the number of samples (2 bytes), the first time (varint) and value (64 bits), the second time as a difference (uvarint); then for
each sample the change of that difference (0, or 10, 110, 1110, 1111 and 14, 17, 20, 64 bits) and its value as XOR with the one before:
0 for the same, 10 and the bits of the last window, 11 and a new window (5 bits: leading zeros, 6 bits: length) with its bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rightsizer.errors import UsageAnswerInvalid

Ints = NDArray[np.int64]
Bits = NDArray[np.uint64]
Floats = NDArray[np.float64]

CHUNKS_AT_ONCE = 8_192
"""As many as keep the arrays of a step within a processor's second cache."""

_HEADER_BYTES = 2
_VARINT_BYTES = 10
_LONGEST_SAMPLE_BYTES = 24
# A change of the difference by the number of ones that it begins with: how many bits tell it.
_CHANGE_BITS = np.array([0, 14, 17, 20, 64], dtype=np.uint64)
_PREFIX_BITS = np.array([1, 2, 3, 4, 4], dtype=np.int64)

_1 = np.uint64(1)
_31 = np.uint64(31)
_32 = np.uint64(32)
_64 = np.uint64(64)


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples of many chunks, one chunk after the other: times in unix milliseconds, values, and how many each chunk has."""

    times: Ints
    values: Floats
    counts: Ints


def decode(body: bytes | bytearray, starts: Ints, sizes: Ints) -> Samples:
    """The samples of the chunks that lie in `body` at these places (bytes). Raises UsageAnswerInvalid."""
    if np.any(sizes < _HEADER_BYTES) or np.any(starts + sizes > len(body)):
        raise UsageAnswerInvalid("a chunk of samples is cut off")
    content = np.frombuffer(body, dtype=np.uint8)
    counts = content[starts].astype(np.int64) << 8 | content[starts + 1]
    # Each sample takes two bits at least: a wrong count must not make us reserve memory for samples that cannot be there.
    if np.any(counts > sizes * 4):
        raise UsageAnswerInvalid("a chunk of samples is cut off")
    samples = Samples(np.empty(counts.sum(), dtype=np.int64), np.empty(counts.sum(), dtype=np.float64), counts)
    places = np.cumsum(counts) - counts
    words = _words(body)
    # Longest first: those that still have samples stay at the front.
    order = np.argsort(-counts, kind="stable")
    for begin in range(0, len(order), CHUNKS_AT_ONCE):
        some = order[begin : begin + CHUNKS_AT_ONCE]
        _Lanes(words, content, starts[some], sizes[some], counts[some]).decode(samples, places[some])
    return samples


def _words(body: bytes | bytearray) -> Bits:
    """The 64 bits from each 32nd bit on, so that one look gives at least 33 bits from anywhere."""
    padded = bytes(body) + bytes(_LONGEST_SAMPLE_BYTES - len(body) % 8)
    pairs = len(padded) // 8 - 1
    words = np.empty(2 * pairs, dtype=np.uint64)
    words[0::2] = np.frombuffer(padded, dtype=">u8", count=pairs)
    words[1::2] = np.frombuffer(padded, dtype=">u8", count=pairs, offset=4)
    return words


class _Lanes:
    """Some chunks that are decoded side by side, longest first; each array has one element per chunk."""

    def __init__(self, words: Bits, content: NDArray[np.uint8], starts: Ints, sizes: Ints, counts: Ints) -> None:
        lanes = len(starts)
        self._words = words
        self._content = content
        self._ends = (starts + sizes) * 8
        self._counts = counts
        self._position = (starts + _HEADER_BYTES) * 8
        self._time = np.zeros(lanes, dtype=np.int64)
        self._difference = np.zeros(lanes, dtype=np.int64)
        self._value = np.zeros(lanes, dtype=np.uint64)
        # The last window: how many bits, and how many zeros follow them.
        self._window = np.full(lanes, 64, dtype=np.uint64)
        self._trailing = np.zeros(lanes, dtype=np.uint64)
        self._index = np.empty(lanes, dtype=np.int64)
        self._bits = np.empty(lanes, dtype=np.uint64)
        self._shift = np.empty(lanes, dtype=np.uint64)

    def decode(self, samples: Samples, places: Ints) -> None:
        values = samples.values.view(np.uint64)
        places = places.copy()
        # How many chunks still have a sample at each step.
        active = np.searchsorted(-self._counts, -np.arange(self._counts[0] if len(self._counts) else 0), side="left")
        for step, lanes in enumerate(active.tolist()):
            if step == 0:
                self._first(lanes)
            else:
                if step == 1:
                    self._second_time(lanes)
                else:
                    self._next_time(lanes)
                self._next_value(lanes)
            samples.times[places[:lanes]] = self._time[:lanes]
            values[places[:lanes]] = self._value[:lanes]
            places[:lanes] += 1
        if np.any(self._position[self._counts > 0] > self._ends[self._counts > 0]):
            raise UsageAnswerInvalid("a chunk of samples is cut off")

    def _first(self, lanes: int) -> None:
        zigzag = self._uvarint(lanes)
        self._time[:lanes] = (zigzag >> _1).view(np.int64) ^ -(zigzag & _1).view(np.int64)
        self._value[:lanes] = self._read64(self._position[:lanes])
        self._position[:lanes] += 64

    def _second_time(self, lanes: int) -> None:
        self._difference[:lanes] = self._uvarint(lanes).view(np.int64)
        self._time[:lanes] += self._difference[:lanes]
        self._look(lanes)

    def _next_time(self, lanes: int) -> None:
        """Leaves the bits after the time in `_bits`, and the place after them in `_position`."""
        self._look(lanes)
        bits, position = self._bits[:lanes], self._position[:lanes]
        (changed,) = (bits.view(np.int64) < 0).nonzero()
        bits <<= _1
        if len(changed):
            self._change_difference(changed)
            bits[changed] = self._read64(position[changed] + 1)
        position += 1
        self._time[:lanes] += self._difference[:lanes]

    def _change_difference(self, changed: Ints) -> None:
        """Moves to one bit before the next part."""
        position = self._position[changed]
        head = self._read64(position)
        ones = np.zeros(len(changed), dtype=np.intp)
        going_on = np.ones(len(changed), dtype=bool)
        for place in range(4):
            going_on &= (head >> np.uint64(63 - place) & _1).astype(bool)
            ones += going_on
        width = _CHANGE_BITS[ones]
        position += _PREFIX_BITS[ones]
        raw = self._read64(position) >> (_64 - width)
        # As Prometheus has it: the middle of the range is a positive number.
        half = _1 << (width - _1)
        change = raw.view(np.int64) - np.where((width < _64) & (raw > half), half << _1, np.uint64(0)).view(np.int64)
        self._difference[changed] += change
        self._position[changed] = position + width.view(np.int64) - 1

    def _next_value(self, lanes: int) -> None:
        """The bits of the value stand at the front of `_bits`."""
        bits, position = self._bits[:lanes], self._position[:lanes]
        position += 1
        (some,) = (bits.view(np.int64) < 0).nonzero()
        if not len(some):
            return
        # Where all are, views will do in the place of copies.
        changed = some if len(some) < lanes else slice(lanes)
        head = bits[changed]
        (fresh,) = ((head << _1).view(np.int64) < 0).nonzero()
        at = position[changed]
        at += 1
        if len(fresh):
            self._new_window(some[fresh], head[fresh])
            at[fresh] += 11
        window = self._window[changed]
        found = self._read64(at)
        found >>= _64 - window
        found <<= self._trailing[changed]
        at += window.view(np.int64)
        position[changed] = at
        self._value[changed] ^= found

    def _new_window(self, lanes: Ints, head: Bits) -> None:
        leading = head >> np.uint64(57) & _31
        window = head >> np.uint64(51) & np.uint64(63)
        window[window == 0] = 64
        if np.any(leading + window > _64):
            raise UsageAnswerInvalid("a chunk of samples cannot be read")
        self._window[lanes] = window
        self._trailing[lanes] = _64 - leading - window

    def _look(self, lanes: int) -> None:
        """At least 33 bits from the position on, in `_bits`."""
        index, bits, shift = self._index[:lanes], self._bits[:lanes], self._shift[:lanes]
        position = self._position[:lanes]
        np.right_shift(position, 5, out=index)
        self._words.take(index, out=bits, mode="clip")
        np.bitwise_and(position.view(np.uint64), _31, out=shift)
        bits <<= shift

    def _read64(self, position: Ints) -> Bits:
        index = position >> 5
        shift = position.view(np.uint64) & _31
        bits = self._words.take(index, mode="clip")
        bits <<= shift
        index += 2
        more = self._words.take(index, mode="clip")
        more >>= _64 - shift
        bits |= more
        return bits

    def _uvarint(self, lanes: int) -> Bits:
        """Positions are at whole bytes here."""
        number = np.zeros(lanes, dtype=np.uint64)
        going_on = np.ones(lanes, dtype=bool)
        for place in range(_VARINT_BYTES):
            byte = self._content.take(self._position[:lanes] >> 3, mode="clip").astype(np.uint64)
            number |= np.where(going_on, (byte & np.uint64(127)) << np.uint64(7 * place), np.uint64(0))
            self._position[:lanes] += 8 * going_on
            going_on &= byte > np.uint64(127)
            if not going_on.any():
                return number
        raise UsageAnswerInvalid("a chunk of samples cannot be read")
