"""A caller of a master in another process."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Collection, Dict, Optional

from . import _call, _errors, _fork, _wire, _zmtp


class _Link(_call.Calls):
    """One connection to the master, and the calls that are open on it.

    There is no thread that reads: of the callers that wait, one does it for all,
    and when it has its own reply another goes on.
    """

    def __init__(self, link: _zmtp.Link) -> None:
        super().__init__()
        self.link = link
        self.lock = threading.Lock()  # of open, reading, waiting
        self.reading = False
        self.waiting: Dict[int, threading.Event] = {}
        self.dead: Optional[Exception] = None
        self._users = 0
        self._poll = select.poll()
        self._poll.register(link.fd, select.POLLIN)

    def read(self, milliseconds: int, writing: threading.Lock) -> None:
        """Wait for what the master sends, and hand it out. Only one thread does this."""
        if not self._poll.poll(milliseconds):
            return
        try:
            messages = self.link.receive()
            with self.lock:
                for message in messages or ():
                    call, answer = self.take(message)
                    if call is not None:
                        self.wake(call)
                    if answer is not None:
                        self.link.queue(answer)
            if self.link.pending() and writing.acquire(False):
                # A writer that is under way takes it along.
                try:
                    self.link.flush()
                finally:
                    writing.release()
        except BaseException as e:
            # What was half read cannot be read on.
            self.end(e if isinstance(e, Exception) else _zmtp.LinkError("interrupted"))
            if not isinstance(e, _zmtp.LinkError):
                raise

    def wake(self, call: _call.Call) -> None:
        event = self.waiting.get(call.number)
        if event is not None:
            event.set()

    def end(self, why: Exception) -> None:
        """The link has ended: all of its calls have."""
        with self.lock:
            if self.dead is None:
                self.dead = why
                for call in self.fail(why):
                    self.wake(call)
                self.link.shutdown()
                if not self._users:
                    self.link.close()

    def enter(self) -> None:
        """Use the link: its descriptor is not closed under who waits for it."""
        with self.lock:
            self._users += 1

    def leave(self) -> None:
        with self.lock:
            self._users -= 1
            if self.dead is not None and not self._users:
                self.link.close()

    def hand_over(self, but: int) -> None:
        """Have somebody else read. The lock is held."""
        if not self.reading:
            for number, event in self.waiting.items():
                if number in self.open and number != but:
                    event.set()
                    return


class _State:
    """What a JobRunner has in one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.writing = threading.Lock()  # who writes, or connects
        self.link: Optional[_Link] = None


class JobRunner(_fork.Forgets):
    """Has jobs done by the workers of a master.

    master is the path of the master's socket, by default that of the environment
    variable POWERHOSE_MASTER. One runner takes calls from any number of threads,
    or of gevent's greenlets, over one connection. It connects at the first call,
    again when the connection has ended, and anew in a child that was forked.
    """

    def __init__(self, master: Optional[str] = None, *, timeout: float = _call.TIMEOUT, allow_uids: Collection[int] = ()) -> None:
        self.path = _call.address(master)
        self.timeout = timeout
        self._uids = _call.users(allow_uids)
        self._states: Dict[int, _State] = {}
        _fork.watch(self)

    def execute(
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
        """Have a job done, and return its result. The exception is an Error, and says why there is none.

        timeout is the deadline in seconds. kind is for workers that take it.
        repeatable allows the job to be started again when its worker was lost.
        urgent is before the calls that wait and are not. busy_wait is how long to
        wait for a free worker, by default what the master has configured.
        progress is called, in this thread, with what the worker sends meanwhile.
        """
        call = _call.Call(data, self.timeout if timeout is None else timeout, kind, repeatable, urgent, busy_wait, progress)
        while True:
            link = self._submit(call)
            self._await(link, call)
            if call.failed is not None and call.repeatable and time.monotonic() < call.deadline:
                continue  # the master was lost, and the job may run twice
            return call.result()

    def close(self) -> None:
        """End the connection; what is called now fails. A later call connects again."""
        state = self._states.pop(os.getpid(), None)
        if state is not None and state.link is not None:
            state.link.end(_zmtp.LinkError("closed here"))

    def __enter__(self) -> "JobRunner":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _forget(self) -> None:
        """A child has a connection of its own; that of its parent ends with the parent."""
        for state in self._states.values():
            if state.link is not None:
                state.link.link.forget()
        self._states = {}

    def _state(self) -> _State:
        # Locks are made here, at the first call of a process: those of before a
        # fork may be held, and those of before gevent's patches do not switch.
        pid = os.getpid()
        state = self._states.get(pid)
        if state is None:
            state = self._states.setdefault(pid, _State())
        return state

    def _submit(self, call: _call.Call) -> _Link:
        """Write the call; where it was never written, on a new connection."""
        state = self._state()
        give_up = min(call.deadline, time.monotonic() + _call.CONNECT)
        while True:
            if not state.writing.acquire(timeout=max(call.deadline - time.monotonic(), 0)):
                raise call.late(started=False)
            try:
                link = state.link
                if link is None or link.dead is not None:
                    link = state.link = self._connect(give_up)
                link.check(call)
                link.enter()
                written = False
                try:
                    written = self._write(link, call)
                finally:
                    if not written:
                        link.leave()
                if written:
                    return link
            finally:
                state.writing.release()

    def _write(self, link: _Link, call: _call.Call) -> bool:
        """Write the call. False if the link has ended, and nothing was written."""
        try:
            # One that nobody reads keeps what others left.
            if not link.link.flush_by(call.deadline):
                raise call.late(started=False)
        except _zmtp.LinkError as e:
            link.end(e)
            return False
        with link.lock:
            if link.dead is not None:
                return False
            call.number, call.failed = link.number(), None
            link.open[call.number] = call
        pieces = link.link.queue(call.head(call.number), call.body)
        try:
            if not link.link.flush_by(call.deadline) and link.link.unqueue(pieces):
                self._drop(link, call)
                raise call.late(started=False)
        except _zmtp.LinkError as e:
            untouched = link.link.unqueue(pieces)
            if untouched:
                self._drop(link, call)
            link.end(e)
            return not untouched
        except BaseException:
            self._drop(link, call)
            if not link.link.unqueue(pieces):
                link.link.queue(_wire.bare(_wire.CANCEL, call.number))
            raise
        return True

    def _connect(self, give_up: float) -> _Link:
        while True:
            try:
                return self._dial(give_up)
            except _zmtp.LinkError as e:
                if time.monotonic() + _call.AGAIN >= give_up:
                    raise _call.absent(self.path, e) from None
            time.sleep(_call.AGAIN)

    def _dial(self, give_up: float) -> _Link:
        raw = _zmtp.Link(_zmtp.dial(self.path, self._uids), _zmtp.DEALER)
        try:
            raw.queue(_call.hello())
            messages = raw.first(min(give_up, time.monotonic() + _call.HANDSHAKE))
            link = _Link(raw)
            link.greet(messages[0])
            raw.conn.max_body = link.max_body()
            for message in messages[1:]:
                _, answer = link.take(message)
                if answer is not None:
                    raw.queue(answer)
            return link
        except BaseException:
            raw.close()
            raise

    def _drop(self, link: _Link, call: _call.Call) -> None:
        with link.lock:
            link.open.pop(call.number, None)
            link.waiting.pop(call.number, None)
            link.hand_over(call.number)

    def _await(self, link: _Link, call: _call.Call) -> None:
        """Wait until the call is done; read for all if nobody does."""
        end = call.deadline + _call.SLACK
        state = self._state()
        try:
            while True:
                with link.lock:
                    if call.done and not call.news:
                        return
                    news, call.news = call.news, []
                    lead = not (news or link.reading)
                    if lead:
                        link.reading = True
                    event = link.waiting.get(call.number)
                    if event is None and not lead:
                        event = link.waiting[call.number] = threading.Event()
                if news:
                    for data in news:
                        assert call.progress is not None
                        call.progress(data)
                    continue
                if time.monotonic() >= end:
                    if lead:
                        with link.lock:
                            link.reading = False
                    raise call.late(started=True)
                if lead:
                    try:
                        while not (call.done or call.news) and time.monotonic() < end and link.dead is None:
                            link.read(_zmtp.left(end), state.writing)
                    finally:
                        with link.lock:
                            link.reading = False
                            link.hand_over(call.number)
                else:
                    assert event is not None
                    event.wait(max(end - time.monotonic(), 0))
                    event.clear()
        finally:
            cancel = not call.done
            self._drop(link, call)
            if cancel:
                self._cancel(link, call, state)
            link.leave()

    def _cancel(self, link: _Link, call: _call.Call, state: _State) -> None:
        """Tell the master that nobody waits any more. What does not fit now goes with the next call."""
        link.link.queue(_wire.bare(_wire.CANCEL, call.number))
        if state.writing.acquire(False):
            try:
                if link.dead is None:
                    link.link.flush()
            except _zmtp.LinkError as e:
                link.end(e)
            finally:
                state.writing.release()
