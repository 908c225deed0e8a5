"""A caller of a master in another process."""

from __future__ import annotations

import os
import select
import threading
import time
from typing import Collection, Dict, List, Optional, Set

from . import _call, _errors, _fork, _wire, _zmtp


class _Link(_call.Calls):
    """One connection to the master, and the calls that are open on it.

    There is no thread that reads: of the callers that wait, one does it for all,
    and when it has its own reply another goes on.
    """

    def __init__(self, link: _zmtp.Link) -> None:
        super().__init__()
        self.link = link
        self.lock = threading.Lock()  # of open, reader, waiting, users
        self.reader: Optional[_call.Call] = None
        self.waiting: Dict[int, threading.Event] = {}
        self.dead: Optional[Exception] = None
        self._users: Set[_call.Call] = set()
        self._poll = select.poll()
        self._poll.register(link.fd, select.POLLIN)

    def read(self, milliseconds: int, state: "_State") -> None:
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
            if self.link.pending() and state.writing.acquire(blocking=False):
                # A writer that is under way takes it along.
                try:
                    self.link.flush()
                finally:
                    state.release()
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

    def enter(self, call: _call.Call) -> None:
        """Use the link: its descriptor is not closed under who waits for it."""
        with self.lock:
            self._users.add(call)

    def leave(self, call: _call.Call) -> bool:
        """The end of a call, as often as one likes. True if the master does not know of it."""
        with self.lock:
            told = self.open.pop(call.number, None) is None
            self.waiting.pop(call.number, None)
            if self.reader is call:
                self.reader = None
            self.hand_over(call.number)
            self._users.discard(call)
            if self.dead is not None and not self._users:
                self.link.close()
            return not told

    def hand_over(self, but: int) -> None:
        """Have somebody else read. The lock is held."""
        if self.reader is None:
            for number, event in self.waiting.items():
                if number in self.open and number != but:
                    event.set()
                    return


class _State:
    """What a JobRunner has in one process."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        # Who writes, or connects. Only its owner can release it: one that was
        # interrupted does not have to know whether it is.
        self.writing = threading.RLock()
        self.link: Optional[_Link] = None

    def release(self) -> None:
        """Stop writing, if this thread does."""
        try:
            self.writing.release()
        except RuntimeError:
            pass


class JobRunner(_fork.Forgets):
    """Has jobs done by the workers of a master.

    master is the path of the master's socket, by default that of the environment
    variable POWERHOSE_MASTER. One runner takes calls from any number of threads,
    or of gevent's greenlets, over one connection. It connects at the first call,
    again when the connection has ended, and anew in a child that was forked.

    A master on another host is tcp://HOST:PORT. Then key is the file of the own
    secret key and master_key that of the master's public one, by default what
    POWERHOSE_KEY and POWERHOSE_MASTER_KEY name. Both are read here: OSError says
    what is wrong with a file, and ImportError that PyNaCl is missing.
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
        wait for a free worker, by default what the master has configured; and for
        a master that is not there, by default 1 s.
        progress is called, in this thread, with what the worker sends meanwhile.
        """
        call = _call.Call(data, self.timeout if timeout is None else timeout, kind, repeatable, urgent, busy_wait, progress)
        state = self._state()
        try:
            while True:
                self._attempt(state, call)
                if not call.again():
                    return call.result()
        except _errors.Error as e:
            call.remember(e)
            raise

    def _attempt(self, state: _State, call: _call.Call) -> None:
        users: List[_Link] = []
        try:
            try:
                self._submit(state, call, users)
                self._await(state, users[-1], call)
            finally:
                self._tidy(state, call, users)
        finally:
            # Again, if a signal handler has interrupted that.
            self._tidy(state, call, users)

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

    def _submit(self, state: _State, call: _call.Call, users: List[_Link]) -> None:
        """Write the call; where it was never written, on a new connection. Those that it used are put into users."""
        give_up = call.give_up()
        if not state.writing.acquire(timeout=max(call.deadline - time.monotonic(), 0)):
            raise call.late(started=False)
        while True:
            link = state.link
            if link is None or link.dead is not None:
                link = state.link = self._connect(call, give_up)
            link.check(call)
            users.append(link)
            link.enter(call)
            if self._write(link, call):
                break
            link.leave(call)
        state.release()

    def _write(self, link: _Link, call: _call.Call) -> bool:
        """Write the call. False if the link has ended, and nothing was written."""
        try:
            # One that nobody reads keeps what others left.
            if not link.link.flush_by(call.deadline):
                raise call.late(started=False)
            if link.link.over():
                raise _zmtp.LinkError("the peer has closed the link")
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
                link.leave(call)
                raise call.late(started=False)
        except _zmtp.LinkError as e:
            untouched = link.link.unqueue(pieces)
            if untouched:
                link.leave(call)
            link.end(e)
            return not untouched
        except BaseException as e:
            if link.link.torn:
                link.end(_zmtp.LinkError("interrupted"))
            elif not isinstance(e, _errors.Error) and link.link.unqueue(pieces):
                link.leave(call)
            raise
        return True

    def _connect(self, call: _call.Call, give_up: float) -> _Link:
        while True:
            try:
                return self._dial(*call.patience(give_up))
            except _zmtp.LinkError as e:
                if time.monotonic() + _call.AGAIN >= give_up:
                    raise _call.absent(self.path, e) from None
            time.sleep(_call.AGAIN)

    def _dial(self, connected: float, deadline: float) -> _Link:
        raw = _zmtp.Link(_zmtp.dial(self.path, self._uids, connected), _zmtp.DEALER, curve=_call.client(self._keys))
        try:
            raw.queue(_call.hello())
            messages = raw.first(deadline)
            link = _Link(raw)
            link.greet(messages[0])
            _call.watch(raw.sock, link)
            raw.conn.max_body = link.max_body()
            for message in messages[1:]:
                _, answer = link.take(message)
                if answer is not None:
                    raw.queue(answer)
            return link
        except BaseException:
            raw.close()
            raise

    def _await(self, state: _State, link: _Link, call: _call.Call) -> None:
        """Wait until the call is done; read for all if nobody does."""
        end = call.deadline + _call.SLACK
        while True:
            with link.lock:
                if call.done and not call.news:
                    return
                news, call.news = call.news, []
                if link.reader is call:
                    link.reader = None
                    link.hand_over(call.number)
                event = link.waiting.get(call.number)
                if not news:
                    if link.reader is None:
                        link.reader = call
                    elif event is None:
                        event = link.waiting[call.number] = threading.Event()
            for data in news:
                assert call.progress is not None
                call.progress(data)
            if news:
                continue
            if time.monotonic() >= end:
                raise call.late(started=True)
            if link.reader is call:
                while not (call.done or call.news) and time.monotonic() < end and link.dead is None:
                    link.read(_zmtp.left(end), state)
            else:
                assert event is not None
                event.wait(max(end - time.monotonic(), 0))
                event.clear()

    def _tidy(self, state: _State, call: _call.Call, users: List[_Link]) -> None:
        """Leave nothing behind of a call, however it ended."""
        state.release()
        for link in users:
            if link.leave(call):
                self._cancel(state, link, call)

    def _cancel(self, state: _State, link: _Link, call: _call.Call) -> None:
        """Tell the master that nobody waits any more. What does not fit now goes with the next call."""
        link.link.queue(_wire.bare(_wire.CANCEL, call.number))
        if state.writing.acquire(blocking=False):
            try:
                if link.dead is None:
                    link.link.flush()
            except _zmtp.LinkError as e:
                link.end(e)
            finally:
                state.release()

