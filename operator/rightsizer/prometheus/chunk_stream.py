"""The answer to a question for raw chunks: a stream of frames, each with some chunks of one series, taken apart as it arrives.

It gives whole series in batches of bounded size, so that an answer of any length needs little memory. It does not look into the chunks.
A stream that is broken raises UsageAnswerInvalid, one with chunks of another kind UsageNotRaw.

A frame is its length (uvarint), a checksum (4 bytes) and a protobuf message. The checksum is not looked at: TCP and TLS have theirs, what
arrived whole was written whole, and a CRC-32C in Python would take longer than all the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rightsizer.errors import UsageAnswerInvalid, UsageNotRaw

CONTENT_TYPE = "application/x-streamed-protobuf"

CHUNKS_PER_BATCH = 2_048
"""A quarter of a million samples, or some 15 MB while they are decoded. A batch is at least one series, however long that is."""

_CHECKSUM_BYTES = 4
_LONGEST_UVARINT = 10
_XOR = 1
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# What Prometheus writes for each chunk of a series: the lengths of the chunk and of its samples, and between them its times (six bytes
# each from 1971 to 2109) and its encoding, XOR. The slow way is the same for everything else.
_USUAL_CHUNK = re.compile(
    rb"\x12(?:[\x80-\xff])*[\x00-\x7f]\x08[\x80-\xff]{5}[\x00-\x7f]\x10[\x80-\xff]{5}[\x00-\x7f]\x18\x01\x22([\x80-\xff]?[\x00-\x7f])",
    re.DOTALL,
)
_LENGTH = re.compile(rb"[\x80-\xff]{0,9}[\x00-\x7f]")
# Field number and kind in one byte.
_LABEL_KEY, _NAME_KEY, _VALUE_KEY = 0x0A, 0x0A, 0x12


@dataclass(slots=True)
class RawBatch:
    """Whole series, one after the other: their labels, how many chunks each has, and where in `body` the chunks are."""

    labels: list[Mapping[str, str]] = field(default_factory=list)
    chunks: list[int] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    starts: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


def batches(pieces: Iterable[bytes], *, chunks_per_batch: int) -> Iterator[RawBatch]:
    """The series of a stream that comes in pieces of any size. Raises UsageAnswerInvalid and UsageNotRaw."""
    batch = RawBatch()
    last: bytes | None = None
    seen: set[int] = set()
    for frame in _frames(pieces):
        for begin, end in _messages(frame):
            labels_end = _labels_end(frame, begin, end)
            series = frame[begin:labels_end]
            if series != last:
                # The rest of a long series comes right after it; elsewhere it would be too late to put both together.
                if hash(series) in seen:
                    raise UsageNotRaw("the series of the answer are not in order")
                seen.add(hash(series))
                if len(batch.starts) >= chunks_per_batch:
                    yield batch
                    batch = RawBatch()
                batch.labels.append(_labels(series))
                batch.chunks.append(0)
                last = series
            batch.chunks[-1] += _add_chunks(batch, frame, labels_end, end)
    if batch.labels:
        yield batch


def _frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    arrived = bytearray()
    for piece in pieces:
        arrived += piece
        place = 0
        while (bounds := _frame_bounds(arrived, place)) is not None:
            begin, place = bounds
            yield bytes(arrived[begin:place])
        del arrived[:place]
    if arrived:
        raise UsageAnswerInvalid(f"the answer ends in the middle of its samples: {bytes(arrived[:200])!r}")


def _frame_bounds(arrived: bytearray, place: int) -> tuple[int, int] | None:
    """Where the content of the frame at this place begins and ends; None while it is not all here."""
    if _LENGTH.match(arrived, place) is None:
        return None
    size, begin = _uvarint(arrived, place, len(arrived))
    end = begin + _CHECKSUM_BYTES + size
    return (begin + _CHECKSUM_BYTES, end) if end <= len(arrived) else None


def _messages(frame: bytes) -> Iterator[tuple[int, int]]:
    """Where the series of a frame lie in it."""
    for number, begin, end in _fields(frame, 0, len(frame)):
        if number == 1:
            yield begin, end
        elif number != 2:
            raise UsageAnswerInvalid(f"the answer is no stream of chunks: {frame[:200]!r}")


def _labels_end(frame: bytes, begin: int, end: int) -> int:
    """Labels come first: the place of the first chunk."""
    place = begin
    while place < end and frame[place] == _LABEL_KEY:
        size, place = _uvarint(frame, place + 1, end)
        place += size
    if place > end:
        raise UsageAnswerInvalid("a series of the answer is cut off")
    return place


def _labels(series: bytes) -> dict[str, str]:
    """The labels of a series, which are all its fields."""
    found: dict[str, str] = {}
    place = 0
    try:
        while place < len(series):
            size, begin = _uvarint(series, place + 1, len(series))
            place = begin + size
            name, value = _label(series, begin, place)
            found[name.decode()] = value.decode()
    except UnicodeDecodeError as error:
        raise UsageAnswerInvalid(f"a label of the answer is no text: {series[:200]!r}") from error
    return found


def _label(series: bytes, begin: int, end: int) -> tuple[bytes, bytes]:
    """Name and value. The usual case, both there and shorter than 128 bytes, is worth its lines: it comes ten times for each series."""
    if end - begin > 4 and series[begin] == _NAME_KEY:
        middle = begin + 2 + series[begin + 1]
        if middle + 1 < end and series[middle] == _VALUE_KEY and middle + 2 + series[middle + 1] == end < middle + 130:
            return series[begin + 2 : middle], series[middle + 2 : end]
    texts = {number: series[start:stop] for number, start, stop in _fields(series, begin, end)}
    return texts.get(1, b""), texts.get(2, b"")


def _add_chunks(batch: RawBatch, frame: bytes, begin: int, end: int) -> int:
    """Puts the chunks of a series into the batch: how many there are."""
    before, base = len(batch.starts), len(batch.body) - begin
    batch.body += memoryview(frame)[begin:end]
    place = begin
    while place < end:
        usual = _USUAL_CHUNK.match(frame, place, end)
        if usual is None:
            start, size, place = _chunk(frame, place, end)
        else:
            length = usual[1]
            size = length[0] if len(length) == 1 else length[0] & 127 | length[1] << 7
            start = usual.end()
            place = start + size
        batch.starts.append(start + base)
        batch.sizes.append(size)
    if place > end:
        raise UsageAnswerInvalid("a chunk of the answer is cut off")
    return len(batch.starts) - before


def _chunk(frame: bytes, place: int, end: int) -> tuple[int, int, int]:
    """Where the samples of the chunk at this place begin, how many bytes they are, and where the next chunk begins."""
    number, begin, stop = next(_fields(frame, place, end))
    encoding, samples = 0, (stop, stop)
    for part, start, part_end in _fields(frame, begin, stop):
        if part == 3:
            encoding = start
        elif part == 4:
            samples = (start, part_end)
    if number != 2:
        raise UsageAnswerInvalid("a series of the answer cannot be read")
    if encoding != _XOR:
        raise UsageNotRaw(f"samples in chunks of another kind ({encoding})")
    return samples[0], samples[1] - samples[0], stop


def _fields(content: bytes, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
    """The fields of a message: their numbers, and where their contents begin and end. Of a number, the number itself, and 0."""
    place = begin
    while place < end:
        key, place = _uvarint(content, place, end)
        kind = key & 7
        if kind == _VARINT:
            value, place = _uvarint(content, place, end)
            yield key >> 3, value, 0
            continue
        if kind == _BYTES:
            size, place = _uvarint(content, place, end)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise UsageAnswerInvalid(f"the answer is no stream of chunks: {content[begin : begin + 200]!r}")
        if place + size > end:
            raise UsageAnswerInvalid("a part of the answer is cut off")
        yield key >> 3, place, place + size
        place += size


def _uvarint(content: Sequence[int], place: int, end: int) -> tuple[int, int]:
    """The number at this place, and where what follows it begins."""
    if place < end and content[place] < 128:
        return content[place], place + 1
    number = shift = 0
    while place < end and shift < 7 * _LONGEST_UVARINT:
        byte = content[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
    raise UsageAnswerInvalid("a number of the answer cannot be read")
