"""The folder in which a history survives its process: who may use it, whether what is in it can be trusted, and its index file.

Pages that were written to mapped files survive a process that is killed, but not a machine that fails, which may keep some and lose
others. So what was not closed properly is trusted only on the machine start on which it was written. What cannot be trusted is thrown
away: the usage source has it all.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from rightsizer.history.head import HeadDamaged, HeadField
from rightsizer.history.index import Index
from rightsizer.history.storage import HEAD_FILE, Shape, Storage

logger = logging.getLogger(__name__)

VERSION = 1
"""Of all files together. Raise it with any change of what they mean, the codec and the shapes included."""

INDEX_FILE, _NEW_INDEX_FILE, _LOCK_FILE = "index", "index.new", "lock"
_MAGIC = b"rightsizer-history"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class _Unusable(Exception):
    """Why what is in the folder cannot be used."""


@dataclass(slots=True)
class Folder:
    """A folder that this process alone uses. `origin`: what decides the values in it, by name. `lock`: a descriptor that holds it."""

    path: Path
    slots: int
    origin: Mapping[str, str]
    lock: int

    def save(self, index: Index, storage: Storage, *, checksums: Mapping[str, int] | None = None) -> None:
        """Put this index in place of the one before, at once. Raises OSError; the one before is still there then."""
        content = {
            **index.encode(),
            "slots": self.slots,
            "origin": dict(self.origin),
            "store": storage.head[HeadField.STORE],
            "boot": _boot_id(),
            "checksums": checksums,
        }
        payload = orjson.dumps(content)
        new = self.path / _NEW_INDEX_FILE
        try:
            with new.open("wb") as file:
                file.write(b"%s %d %08x\n%s" % (_MAGIC, VERSION, zlib.crc32(payload), payload))
                if checksums is not None:
                    file.flush()
                    os.fsync(file.fileno())
            new.replace(self.path / INDEX_FILE)
        except OSError:
            new.unlink(missing_ok=True)
            raise

    def finish(self, index: Index, storage: Storage) -> None:
        """Bring all to the disk and say that it is whole. Raises OSError."""
        storage.flush()
        self.save(index, storage, checksums=storage.checksums())
        storage.head[HeadField.CLEAN] = 1
        storage.head.flush()

    def unlock(self) -> None:
        os.close(self.lock)


@dataclass(frozen=True, slots=True)
class Opened:
    """What a history works with. Without a folder it is in memory alone; `trouble` says why, where one was wanted."""

    storage: Storage
    index: Index
    folder: Folder | None = None
    trouble: str | None = None


def open_folder(path: Path | None, *, slots: int, shapes: Mapping[str, Shape], origin: Mapping[str, str]) -> Opened:
    """What is in the folder, or an empty history in it, or, where it cannot be used, one in memory. The log says which and why.

    What was kept under another `origin` is thrown away.
    """
    if path is None:
        return Opened(Storage.create(shapes), Index())
    try:
        # No parents: a slip of the pen would fill another disk than that of the volume.
        path.mkdir(exist_ok=True)
        folder = Folder(path, slots, origin, _lock(path))
    except OSError as error:
        return _in_memory(shapes, _reason(path, error))
    try:
        return _load_or_create(folder, shapes)
    except OSError as error:
        folder.unlock()
        return _in_memory(shapes, _reason(path, error))


def _reason(path: Path, error: OSError) -> str:
    match error:
        case BlockingIOError():
            return f"the history is in memory only: another process uses {path}"
        case FileExistsError() | NotADirectoryError():
            why = "it is no folder"
        case FileNotFoundError():
            why = "the folder that it should be in is missing"
        case _:
            why = error.strerror or str(error)
    advice = "RIGHTSIZER_HISTORY_FOLDER should name a folder that can be written"
    return f"the history is in memory only: {path} cannot be used ({why}); {advice}, else it is read again after a restart"


def _in_memory(shapes: Mapping[str, Shape], trouble: str) -> Opened:
    logger.warning("%s", trouble)
    return Opened(Storage.create(shapes), Index(), trouble=trouble)


def _lock(path: Path) -> int:
    file = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _load_or_create(folder: Folder, shapes: Mapping[str, Shape]) -> Opened:
    if not (folder.path / INDEX_FILE).exists():
        logger.info("the history in %s starts empty", folder.path)
        return _create(folder, shapes)
    try:
        storage, index = _load(folder, shapes)
    except (_Unusable, HeadDamaged, OSError) as error:
        logger.warning("the history in %s cannot be used and starts anew: %s", folder.path, error)
    else:
        logger.info("the history in %s has %d containers", folder.path, len(index.rows))
        return Opened(storage, index, folder)
    return _create(folder, shapes)


def _create(folder: Folder, shapes: Mapping[str, Shape]) -> Opened:
    # Without an index nothing else counts, so a crash from here on leaves an empty folder in effect.
    for name in (INDEX_FILE, _NEW_INDEX_FILE, HEAD_FILE, *shapes):
        (folder.path / name).unlink(missing_ok=True)
    storage, index = Storage.create(shapes, folder=folder.path), Index()
    storage.head[HeadField.STORE] = secrets.randbits(31)
    storage.head[HeadField.SLOTS] = folder.slots
    folder.save(index, storage)
    index.changed = False
    return Opened(storage, index, folder)


def _load(folder: Folder, shapes: Mapping[str, Shape]) -> tuple[Storage, Index]:
    content = _read_index(folder.path / INDEX_FILE)
    if content.get("slots") != folder.slots:
        raise _Unusable(f"it has {content.get('slots')} slots, {folder.slots} are wanted")
    _check_origin(content.get("origin"), folder.origin)
    storage = Storage.load(shapes, folder=folder.path)
    try:
        _check(content, storage)
        index = Index.decode(content, used=storage.head[HeadField.USED])
        if content.get("boot") != _boot_id():
            folder.save(index, storage)
        storage.head[HeadField.CLEAN] = 0
    except (_Unusable, HeadDamaged, OSError):
        storage.close()
        raise
    except (KeyError, TypeError, ValueError) as error:
        storage.close()
        raise _Unusable(f"its index is damaged: {error}") from error
    return storage, index


def _read_index(path: Path) -> dict[str, Any]:
    first, _, payload = path.read_bytes().partition(b"\n")
    match first.split(b" "):
        case [magic, version, checksum] if magic == _MAGIC:
            if version != str(VERSION).encode():
                raise _Unusable(f"it is of version {version.decode(errors='replace')}, not {VERSION}")
            if checksum != b"%08x" % zlib.crc32(payload):
                raise _Unusable("its index is damaged")
        case _:
            raise _Unusable("its index is damaged")
    content: dict[str, Any] = orjson.loads(payload)
    return content


def _check_origin(kept: Mapping[str, str] | None, wanted: Mapping[str, str]) -> None:
    """Raises _Unusable where the values in the folder are of another source: they say nothing of this one."""
    if kept is None:
        raise _Unusable("it does not say where its values come from")
    other = sorted(name for name in {*kept, *wanted} if kept.get(name) != wanted.get(name))
    if other:
        raise _Unusable(f"its values were read with another {', '.join(other)}")


def _check(content: Mapping[str, Any], storage: Storage) -> None:
    """Raises _Unusable where index and arrays are not of one piece, or may be damaged."""
    head = storage.head
    if head[HeadField.STORE] != content["store"] or head[HeadField.SLOTS] != content["slots"]:
        raise _Unusable("its files do not belong together")
    for field in HeadField:
        _ = head[field]
    if head[HeadField.CLEAN]:
        if storage.checksums() != content["checksums"]:
            raise _Unusable("its arrays are damaged")
    elif content["boot"] is None or content["boot"] != _boot_id():
        raise _Unusable("the machine stopped before the history was closed")


def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
