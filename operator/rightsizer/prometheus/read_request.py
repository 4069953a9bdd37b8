"""A question for raw chunks, in the bytes of Prometheus' remote-read API: a protobuf message, packed as a snappy block.

The messages are few and small, so they are written by hand, and the snappy block holds literals only: no further library is needed.
A selector that is not understood raises UsageNotRaw; how the bytes are sent is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rightsizer.errors import UsageNotRaw

PATH = "/api/v1/read"
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Read-Version": "0.1.0",
}

_OPERATORS = {"=": 0, "!=": 1, "=~": 2, "!~": 3}
_STREAMED_XOR_CHUNKS = 1
_VARINT, _BYTES = 0, 2

_SELECTOR = re.compile(r"([A-Za-z_:][A-Za-z0-9_:]*)?\s*\{(.*)\}", re.DOTALL)
_MATCHER = re.compile(
    r"""\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*(?:,\s*|$)""",
)
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"', "'": "'"}

# A literal whose length follows in two bytes.
_SNAPPY_LITERAL = bytes([61 << 2])
_LONGEST_LITERAL = 1 << 16


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label; the metric's name is the label `__name__`."""

    label: str
    operator: Literal["=", "!=", "=~", "!~"]
    value: str


def matchers(selector: str) -> tuple[Matcher, ...]:
    """What a PromQL selector without range asks for. Raises UsageNotRaw where it is not plainly one."""
    found = _SELECTOR.fullmatch(selector.strip())
    if found is None:
        raise UsageNotRaw(f"no plain selector: {selector}")
    named = [Matcher("__name__", "=", found[1])] if found[1] else []
    return (*named, *_conditions(found[2]))


def _conditions(text: str) -> Iterator[Matcher]:
    place = 0
    while place < len(text.rstrip()):
        found = _MATCHER.match(text, place)
        if found is None:
            raise UsageNotRaw(f"matchers that cannot be translated: {text[place:]}")
        operator: Literal["=", "!=", "=~", "!~"] = found[2]  # type: ignore[assignment]
        yield Matcher(found[1], operator, _unquoted(found[3]))
        place = found.end()


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    unknown = [found[1] for found in _ESCAPED.finditer(text[1:-1]) if found[1] not in _ESCAPES]
    if unknown:
        raise UsageNotRaw(f"matchers with an escape that cannot be translated: {text}")
    return _ESCAPED.sub(lambda found: _ESCAPES[found[1]], text[1:-1])


def read_request(wanted: tuple[Matcher, ...], *, start_ms: int, end_ms: int) -> bytes:
    """The body of a request for the chunks of these series from `start_ms` to `end_ms` (unix milliseconds, both included)."""
    query = _number(1, start_ms) + _number(2, end_ms) + b"".join(_content(3, _matcher(one)) for one in wanted)
    return _snappy(_content(1, query) + _number(2, _STREAMED_XOR_CHUNKS))


def _matcher(one: Matcher) -> bytes:
    operator, value = one.operator, one.value
    if operator == "=" and value and one.label != "__name__":
        # Where the server has an external label of this name and value, it would look for series without the label; not for a regex.
        operator, value = "=~", re.sub(r"([\\.+*?()|\[\]{}^$])", r"\\\1", value)
    return _number(1, _OPERATORS[operator]) + _content(2, one.label.encode()) + _content(3, value.encode())


def _number(field: int, value: int) -> bytes:
    return _uvarint(field << 3 | _VARINT) + _uvarint(value & ((1 << 64) - 1))


def _content(field: int, value: bytes) -> bytes:
    return _uvarint(field << 3 | _BYTES) + _uvarint(len(value)) + value


def _uvarint(number: int) -> bytes:
    written = bytearray()
    while number > 127:
        written.append(number & 127 | 128)
        number >>= 7
    return bytes([*written, number])


def _snappy(content: bytes) -> bytes:
    pieces = [content[start : start + _LONGEST_LITERAL] for start in range(0, len(content), _LONGEST_LITERAL)]
    return _uvarint(len(content)) + b"".join(_SNAPPY_LITERAL + (len(piece) - 1).to_bytes(2, "little") + piece for piece in pieces)
