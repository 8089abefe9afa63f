"""A connection of the stock `websockets` client, and the case runner."""

import asyncio
import json
import logging
import re
import time

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT = 5.0
CLOSE_WAIT = 10.0


class Mismatch(Exception):
    """What a case throws: `got X, expected Y`."""

    def __init__(self, got, expected):
        super().__init__(f"got {show(got)}, expected {show(expected)}")


class Skipped(Exception):
    """The library cannot do what the case needs."""


def show(value):
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def same(got, expected):
    if got != expected:
        raise Mismatch(got, expected)


def matches(got, pattern):
    if not isinstance(got, str) or not re.search(pattern, got):
        raise Mismatch(got, f"/{pattern}/")


class PingCounter(logging.Handler):
    """Counts the pings that came; the library answers them itself and tells nobody but its debug log."""

    def __init__(self):
        super().__init__()
        self.pings = 0

    def emit(self, record):
        self.pings += record.getMessage().startswith("< PING")


class Peer:
    def __init__(self, socket, counter):
        self._socket = socket
        self._counter = counter
        self._opened_at = time.monotonic()
        self.welcome = None

    @classmethod
    async def open(cls, url, **options):
        """Opens a connection. Fails with a Mismatch if the server does not upgrade it."""
        logger = logging.Logger("peer", logging.DEBUG)
        counter = PingCounter()
        logger.addHandler(counter)
        try:
            # No pings of our own, no proxy, no limit on how much may wait to be read.
            socket = await connect(
                url, ping_interval=None, proxy=None, max_queue=None, logger=logger, open_timeout=WAIT, **options
            )
        except InvalidStatus as error:
            raise Mismatch(f"HTTP {error.response.status_code}", "HTTP 101") from error
        return cls(socket, counter)

    @property
    def pings(self):
        return self._counter.pings

    async def send(self, message):
        await self._socket.send(message if isinstance(message, str) else json.dumps(message, ensure_ascii=False))

    async def send_raw(self, data, text):
        await self._socket.send(data, text=text)

    async def next(self, wait=WAIT):
        """The next message."""
        try:
            return json.loads(await within(wait, "a message", self._socket.recv()))
        except ConnectionClosed as error:
            raise Mismatch(f"close {self._socket.close_code} {self._socket.close_reason}", "a message") from error

    async def expect(self, kind):
        """The next message, which must be of this type."""
        message = await self.next()
        if message.get("type") != kind:
            raise Mismatch(message, kind)
        return message

    async def silence(self, seconds):
        try:
            message = await asyncio.wait_for(self._socket.recv(), seconds)
        except TimeoutError:
            return
        except ConnectionClosed:
            message = f"close {self._socket.close_code} {self._socket.close_reason}"
        raise Mismatch(message, f"{seconds * 1000:.0f} ms of silence")

    async def ping(self, payload):
        """Sends a protocol ping and waits for the pong with the same payload."""
        await within(WAIT, "a pong", await self._socket.ping(payload))

    async def end(self, wait=CLOSE_WAIT):
        """How the connection ended: code, reason, seconds after it was opened."""
        await within(wait, "a close", self._socket.wait_closed())
        return self._socket.close_code, self._socket.close_reason, time.monotonic() - self._opened_at

    async def expect_close(self, code, reason=None):
        got, why, _ = await self.end()
        if got != code:
            raise Mismatch(f"{got} {why}", f"{code} {reason or ''}".strip())
        if reason is not None:
            same(why, reason)

    def drop(self):
        self._socket.transport.abort()


async def handshake(url, **options):
    """The status of the handshake, whatever it is."""
    try:
        async with connect(url, proxy=None, open_timeout=WAIT, **options):
            return 101
    except InvalidStatus as error:
        return error.response.status_code


async def within(seconds, what, awaitable):
    try:
        return await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        raise Mismatch(f"nothing in {seconds:g} s", what) from None


async def run(cases):
    """Runs the cases one after the other and prints a line for each. Returns the exit code."""
    passed = failed = 0
    for name, check in cases:
        try:
            await check()
            passed += 1
            print(f"ok {name}", flush=True)
        except Skipped as why:
            print(f"skip {name}: {why}", flush=True)
        except Exception as error:  # noqa: BLE001; a case may fail in any way
            failed += 1
            why = str(error) if isinstance(error, Mismatch) else f"got {error!r}, expected no error"
            print(f"FAIL {name}: {why}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
