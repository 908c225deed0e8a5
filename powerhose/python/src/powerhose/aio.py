"""The form of JobRunner for asyncio.

    async with powerhose.aio.JobRunner() as runner:
        result = await runner.execute(b"job", timeout=5.0)
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Collection, Dict, Optional, Tuple

from . import _call, _curve, _errors, _fork, _wire, _zmtp

__all__ = ["JobRunner"]


class _Protocol(asyncio.Protocol):
    """One connection to the master, and the calls that are open on it."""

    def __init__(self, curve: Optional[_curve.Curve]) -> None:
        self.conn = _zmtp.Connection(_zmtp.DEALER, curve=curve)
        self.calls = _call.Calls()
        self.news: "Dict[int, asyncio.Future[None]]" = {}
        self.dead: Optional[Exception] = None
        loop = asyncio.get_running_loop()
        self.welcomed: "asyncio.Future[None]" = loop.create_future()
        self.closed: "asyncio.Future[None]" = loop.create_future()
        self._writable = asyncio.Event()
        self._writable.set()
        self._transport: Optional[asyncio.Transport] = None
        self._greeted = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._flush()

    def data_received(self, data: bytes) -> None:
        try:
            messages = self.conn.feed(data)
            self._flush()
            if self.conn.ready and not self._greeted:
                self._greeted = True
                self.write(_call.hello())
            for message in messages:
                if self.calls.welcome is None:
                    self.calls.greet(message)
                    self.conn.max_body = self.calls.max_body()
                    self._watch()
                    self.welcomed.set_result(None)
                    continue
                call, answer = self.calls.take(message)
                if call is not None:
                    self.wake(call)
                if answer is not None:
                    self.write(answer)
        except _zmtp.LinkError as e:
            self._flush()
            self.end(e)

    def _watch(self) -> None:
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        if sock is not None:
            _call.watch(sock, self.calls)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.end(exc or _zmtp.LinkError(self.conn.closed()))
        if not self.closed.done():
            self.closed.set_result(None)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def wake(self, call: _call.Call) -> None:
        news = self.news.get(call.number)
        if news is not None and not news.done():
            news.set_result(None)

    def end(self, why: Exception) -> None:
        """The link has ended: all of its calls have."""
        if self.dead is None:
            self.dead = why
            if not self.welcomed.done():
                self.welcomed.set_exception(why)
                self.welcomed.exception()  # nobody may be waiting for it
            for call in self.calls.fail(why):
                self.wake(call)
            self._writable.set()
            if self._transport is not None:
                self._transport.close()

    def abandon(self) -> None:
        """Leave the connection to the process that this one was forked from."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                # The number must stay taken: the parent's loop still thinks of it.
                null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
                os.dup2(null, sock.fileno(), inheritable=False)
                os.close(null)

    def write(self, head: bytes, body: Optional[bytes] = None) -> None:
        # asyncio logs what is written between the end and connection_lost.
        if self._transport is not None and self.dead is None and not self._transport.is_closing():
            for piece in self.conn.message(head, body):
                self._transport.write(self.conn.seal(piece))

    def idle(self) -> bool:
        """Whether a call can be written without waiting."""
        return self.dead is None and self._writable.is_set()

    async def writable(self) -> None:
        """Wait until the kernel has taken enough of what was written."""
        await self._writable.wait()

    def _flush(self) -> None:
        if self._transport is not None:
            for piece in self.conn.out:
                self._transport.write(self.conn.seal(piece))
        self.conn.out.clear()


class JobRunner(_fork.Forgets):
    """Has jobs done by the workers of a master, for coroutines.

    It is for one event loop at a time; in another loop, or in a child that was
    forked, it connects anew. Its arguments are those of powerhose.JobRunner.
    """

    def __init__(
        self,
        master: Optional[str] = None,
        *,
        timeout: float = _call.TIMEOUT,
        allow_uids: Collection[int] = (),
        key: Optional[str] = None,
        master_key: Optional[str] = None,
    ) -> None:
        self.path = _call.address(master)
        self._keys = _call.keys(self.path, key, master_key)
        self.timeout = timeout
        self._uids = _call.users(allow_uids)
        self._current: Optional[Tuple[asyncio.AbstractEventLoop, asyncio.Lock]] = None
        self._link: Optional[_Protocol] = None
        _fork.watch(self)

    async def execute(
        self,
        data: _call.Bytes,
        timeout: Optional[float] = None,
        *,
        kind: str = "",
        repeatable: bool = False,
        urgent: bool = False,
        busy_wait: Optional[float] = None,
        progress: Optional[_call.Progress] = None,
    ) -> bytes:
        """Have a job done; see powerhose.JobRunner.execute. Cancelling the task cancels the call."""
        call = _call.Call(data, self.timeout if timeout is None else timeout, kind, repeatable, urgent, busy_wait, progress)
        try:
            while True:
                call.failed = None
                await self._attempt(call)
                if not call.again():
                    return call.result()
        except _errors.Error as e:
            call.remember(e)
            raise

    async def _attempt(self, call: _call.Call) -> None:
        loop = asyncio.get_running_loop()
        link = self._link
        if link is None or self._current is None or self._current[0] is not loop or not link.idle():
            try:
                link = await asyncio.wait_for(self._connected(call), max(call.deadline - time.monotonic(), 0))
            except asyncio.TimeoutError:
                raise call.late(started=False) from None
        link.calls.check(call)
        call.number = link.calls.number()
        link.calls.open[call.number] = call
        link.write(call.head(call.number), call.body)
        timer = loop.call_later(call.deadline + _call.SLACK - time.monotonic(), link.wake, call)
        try:
            while not call.done:
                news = link.news[call.number] = loop.create_future()
                await news
                for piece in call.news:
                    assert call.progress is not None
                    call.progress(piece)
                call.news.clear()
                if not call.done and time.monotonic() >= call.deadline + _call.SLACK:
                    raise call.late(started=True)
        finally:
            timer.cancel()
            link.news.pop(call.number, None)
            if link.calls.open.pop(call.number, None) is not None:
                link.write(_wire.bare(_wire.CANCEL, call.number))

    async def _connected(self, call: _call.Call) -> _Protocol:
        loop = asyncio.get_running_loop()
        if self._current is None or self._current[0] is not loop:
            if self._link is not None:
                self._link.abandon()
            self._link, self._current = None, (loop, asyncio.Lock())
        give_up = call.give_up()
        while True:
            async with self._current[1]:
                link = self._link
                if link is None or link.dead is not None:
                    link = self._link = await self._connect(call, give_up)
            await link.writable()
            if link.dead is None:
                return link

    async def _connect(self, call: _call.Call, give_up: float) -> _Protocol:
        while True:
            try:
                return await self._dial(*call.patience(give_up))
            except _zmtp.LinkError as e:
                if time.monotonic() + _call.AGAIN >= give_up:
                    raise _call.absent(self.path, e) from None
            await asyncio.sleep(_call.AGAIN)

    async def _dial(self, connected: float, deadline: float) -> _Protocol:
        loop = asyncio.get_running_loop()
        curve = _call.client(self._keys)
        if curve is None:
            # A connection to a Unix socket is there at once, or never.
            sock = _zmtp.dial(self.path, self._uids)
        else:
            sock = await self._dial_tcp(loop, connected)
        try:
            _, link = await loop.create_connection(lambda: _Protocol(curve), sock=sock)
        except BaseException:
            sock.close()
            raise
        try:
            await asyncio.wait_for(asyncio.shield(link.welcomed), max(deadline - time.monotonic(), 0))
        except asyncio.TimeoutError:
            e = _zmtp.LinkError("the peer did not answer in time")
            link.end(e)
            raise e from None
        except OSError as e:
            raise _zmtp.LinkError(str(e)) from None
        except asyncio.CancelledError:
            link.end(_zmtp.LinkError("cancelled"))
            raise
        return link

    async def _dial_tcp(self, loop: asyncio.AbstractEventLoop, deadline: float) -> socket.socket:
        host, port = _zmtp.host_port(self.path)
        try:
            found = await asyncio.wait_for(loop.getaddrinfo(host, port, type=socket.SOCK_STREAM), max(deadline - time.monotonic(), 0))
        except asyncio.TimeoutError:
            raise _zmtp.LinkError("%s: the name was not found in time" % self.path) from None
        except OSError as e:
            raise _zmtp.LinkError("%s: %s" % (self.path, _zmtp.reason(e))) from None
        why = "no address"
        for i, (family, kind, protocol, _, where) in enumerate(found):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setblocking(False)
                _zmtp.prepare(sock)
                # Each address has its share of the time.
                share = (deadline - time.monotonic()) / (len(found) - i)
                await asyncio.wait_for(loop.sock_connect(sock, where), max(share, 0))
                return sock
            except asyncio.TimeoutError:
                why = "connection timed out"
            except OSError as e:
                # asyncio has words of its own for it.
                why = os.strerror(e.errno).lower() if e.errno else _zmtp.reason(e)
            except BaseException:
                sock.close()
                raise
            sock.close()
        raise _zmtp.LinkError("%s: %s" % (self.path, why))

    async def close(self) -> None:
        """End the connection; what is called now fails. A later call connects again."""
        link, self._link = self._link, None
        if link is not None and self._current is not None and self._current[0] is asyncio.get_running_loop():
            link.end(_zmtp.LinkError("closed here"))
            await link.closed

    async def __aenter__(self) -> "JobRunner":
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _forget(self) -> None:
        """A child has a connection of its own; that of its parent ends with the parent."""
        link, self._link, self._current = self._link, None, None
        if link is not None:
            link.abandon()
