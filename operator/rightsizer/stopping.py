"""The order to stop, which everything that talks to the outside looks at: no further call begins, and one under way can be cut.

A process that is told to end has seconds, and a call to a server that hangs has a longer time limit than that. What is asked, and whom,
is not known here.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from weakref import WeakSet

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rightsizer.errors import Stopped


class Stopping:
    """Set once, for good. Safe to share between threads, and to use in a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()
        # A signal handler may come in the middle of its own thread's turn.
        self._lock = threading.RLock()
        self._sockets: WeakSet[socket.socket] = WeakSet()
        self._cut = False

    def is_set(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        """From now on no call begins."""
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """A pause that the order to stop ends. Answers whether it was given."""
        return self._event.wait(seconds)

    def check(self) -> None:
        """Raises Stopped once the order was given."""
        if self._event.is_set():
            raise Stopped("the work is being stopped")

    def watch(self, connected: socket.socket) -> None:
        """A connection that `cut` is to end."""
        with self._lock:
            self._sockets.add(connected)
            if self._cut:
                _shut(connected)

    def cut(self) -> None:
        """End all connections, so that who waits for an answer goes on with an error."""
        with self._lock:
            self._cut = True
            for connected in list(self._sockets):
                _shut(connected)


def watched_pools(stopping: Stopping) -> dict[str, type[HTTPConnectionPool]]:
    """What a `urllib3.PoolManager` takes as its `pool_classes_by_scheme`: connections that `stopping` can cut."""

    class Plain(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            stopping.watch(self.sock)

    class Encrypted(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            stopping.watch(self.sock)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class EncryptedPool(HTTPSConnectionPool):
        ConnectionCls = Encrypted

    return {"http": PlainPool, "https": EncryptedPool}


def _shut(connected: socket.socket) -> None:
    with suppress(OSError):
        # Not that of a TLS socket, which first puts away what the waiting thread is using.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
