"""Remote-read as a server speaks it: answers of raw chunks, and what was asked for, taken apart independently of the operator's code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tests import xor_chunks
from tests.prometheus_server import Reply
from tests.xor_chunks import Sample, uvarint

CONTENT_TYPE = "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
XOR, HISTOGRAM = 1, 2


def content(number: int, value: bytes) -> bytes:
    return uvarint(number << 3 | 2) + uvarint(len(value)) + value


def integer(number: int, value: int) -> bytes:
    return uvarint(number << 3) + uvarint(value & ((1 << 64) - 1))


def chunk(samples: Sequence[Sample], *, encoding: int = XOR) -> bytes:
    times = integer(1, samples[0][0]) + integer(2, samples[-1][0]) if samples else b""
    return content(2, times + integer(3, encoding) + content(4, xor_chunks.encode(samples)))


def series(labels: Mapping[str, str], *chunks: bytes) -> bytes:
    written = b"".join(content(1, content(1, name.encode()) + content(2, value.encode())) for name, value in sorted(labels.items()))
    return content(1, written + b"".join(chunks))


def frame(*messages: bytes) -> bytes:
    """As Prometheus frames it; the checksum is not the right one."""
    body = b"".join(messages)
    return uvarint(len(body)) + b"\xde\xad\xbe\xef" + body


def raw_reply(*frames: bytes, content_type: str = CONTENT_TYPE) -> Reply:
    return Reply(200, b"".join(frames), {"Content-Type": content_type})


@dataclass(frozen=True, slots=True)
class AskedChunks:
    """A question for raw chunks: from when to when (unix milliseconds), and (operator, label, value) of each matcher."""

    start_ms: int
    end_ms: int
    matchers: tuple[tuple[int, str, str], ...]
    accepted: tuple[int, ...]


def asked_chunks(body: bytes) -> AskedChunks:
    request = list(_fields(unpacked(body)))
    (query,) = [value for number, value in request if number == 1]
    assert isinstance(query, bytes)
    fields = list(_fields(query))
    numbers = {number: value for number, value in fields if isinstance(value, int)}
    matchers = tuple(_matcher(value) for number, value in fields if number == 3 and isinstance(value, bytes))
    accepted = tuple(value for number, value in request if number == 2 and isinstance(value, int))
    return AskedChunks(numbers[1], numbers[2], matchers, accepted)


def _matcher(written: bytes) -> tuple[int, str, str]:
    fields = dict(_fields(written))
    operator, label, value = fields[1], fields[2], fields[3]
    assert isinstance(operator, int)
    assert isinstance(label, bytes)
    assert isinstance(value, bytes)
    return operator, label.decode(), value.decode()


def unpacked(block: bytes) -> bytes:
    """A snappy block that holds literals only."""
    length, place = _number(block, 0)
    found = b""
    while place < len(block):
        kind, size = block[place] & 3, block[place] >> 2
        assert kind == 0, "no literal"
        place += 1
        if size >= 60:
            width = size - 59
            size = int.from_bytes(block[place : place + width], "little")
            place += width
        found += block[place : place + size + 1]
        place += size + 1
    assert len(found) == length
    return found


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    place = 0
    while place < len(message):
        key, place = _number(message, place)
        value, place = _number(message, place)
        if key & 7 == 2:
            yield key >> 3, message[place : place + value]
            place += value
        else:
            yield key >> 3, value


def _number(message: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while message[place] > 127:
        number |= (message[place] & 127) << shift
        place, shift = place + 1, shift + 7
    return number | message[place] << shift, place + 1
