"""A worker: one process, one thread, one job at a time."""

from __future__ import annotations

import collections
import logging
import math
import os
import random
import resource
import select
import signal
import socket as sockets
import struct
import sys
import threading
import time
import traceback
from typing import Any, Callable, Collection, Deque, Dict, List, Optional, Sequence, Set, Tuple

from . import _call, _curve, _errors, _fork, _listen, _wire, _zmtp
from ._version import __version__

log = logging.getLogger("powerhose")

#: The exit status of a worker that lost its master.
LOST_MASTER = 69

HANDSHAKE = 2.0  # seconds from the connection to WELCOME, and from there to the work link
_DELAYS = (0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0)  # before each try to register again
_JITTER = 0.2
_FAREWELL = 5.0  # seconds for the BYE of the master
_CANDIDATES = 8  # connections in the handshake
_IDLE = 0.1  # seconds until the supervisor is told
_DETAIL = 1 << 16  # bytes of a traceback
_FINAL = (_wire.BAD_VERSION, _wire.BAD_SOCKET, _wire.BAD_CREDENTIALS, _wire.MALFORMED, _wire.BROKEN)


class _Lost(Exception):
    """The master is lost: register again later."""

    counts = True  # as one of the tries


class _End(Exception):
    """The master will not have this worker."""


class _Stopped(Exception):
    """The worker was asked to end before it was registered."""


class Job(bytes):
    """The body of a job, and what there is to know about it."""

    number: int = 0
    attempt: int = 1
    kind: str = ""
    repeatable: bool = False
    _expires: float = math.inf
    _wants_progress: bool = False
    _session: "Optional[_Session]" = None

    @property
    def data(self) -> bytes:
        """The body."""
        return self

    @property
    def remaining(self) -> float:
        """Seconds to the deadline of the caller; less than 0 when it is over."""
        return self._expires - time.monotonic()

    @property
    def cancelled(self) -> bool:
        """Whether the caller does not wait any more. To see that, this reads what the master sent."""
        session = self._session
        if session is None or session.running != self.number:
            return False
        session.look()
        return self.number in session.cancelled

    def progress(self, data: bytes) -> None:
        """Tell the caller how far the job is, if he wants to know. It never waits, and may be lost."""
        session = self._session
        if session is None or session.running != self.number:
            return
        session.look()
        if self._wants_progress:
            session.offer(_wire.bare(_wire.PROGRESS, self.number), bytes(data))


Handler = Callable[[Job], bytes]


class _Session:
    """The two links of a worker that is registered, and the jobs that came over them."""

    def __init__(self, reg: _zmtp.Link, work: _zmtp.Link, welcome: _wire.Head, listener: _listen.Listener, wake: int) -> None:
        self.reg = reg
        self.work = work
        self.welcome = welcome
        self.window = max(welcome.window, 1)
        self.max_body = min(welcome.max_body, _zmtp.MAX_BODY)
        self.period = welcome.period / 1000
        work.conn.max_body = self.max_body
        self.jobs: Deque[Tuple[_wire.Head, bytes, float]] = collections.deque()  # that were not started
        self.running = 0
        self.since = 0.0
        self.cancelled: Set[int] = set()
        self.heard = self.quiet = time.monotonic()  # of the master; since when this worker is idle
        self.pings = 0
        self.drain = ""  # why the master wants it to end
        self.bye = False
        self.lost: Optional[Exception] = None
        self.woken = self.busy = False  # of the last wait: by a signal, by a peer
        self._wake = wake
        self._listener = listener
        self._poll = select.poll()
        for fd in (reg.fd, work.fd, listener.fileno(), wake):
            self._poll.register(fd, select.POLLIN)

    def patience(self) -> float:
        """Until when a write may wait."""
        return time.monotonic() + self.period * self.welcome.tries

    def wait(self, milliseconds: int) -> bool:
        """Wait for what comes on any descriptor, and take it. True if there was something."""
        self.woken = self.busy = False
        ready = self._poll.poll(milliseconds)
        for fd, _ in ready:
            if fd == self._wake:
                self.woken = True
                continue
            self.busy = True
            if fd == self.work.fd:
                self._take(self.work, self._work)
            elif fd == self.reg.fd:
                self._take(self.reg, self._registration)
            else:
                self._listener.refuse_all()  # there is one work link at a time
        return bool(ready)

    def look(self) -> None:
        """The same while a job runs: nothing is raised, and nothing waits."""
        try:
            while self.lost is None and self.wait(0) and self.busy:
                pass
        except (_zmtp.LinkError, _Lost, _End) as e:
            self.lost = e

    def offer(self, head: bytes, body: bytes) -> None:
        """Write a message that may be dropped."""
        try:
            if self.lost is None and self.work.flush():
                self.work.queue(head, body)
                self.work.flush()
        except _zmtp.LinkError as e:
            self.lost = e

    def _take(self, link: _zmtp.Link, take: Callable[[_wire.Head, bytes], None]) -> None:
        try:
            messages = link.receive()
            if messages:
                self.heard = time.monotonic()
                for head, body in messages:
                    take(_read(head, body), body or b"")
        except _zmtp.ProtocolError as e:
            _complain(link, e)
            raise
        except (_zmtp.LinkError, _Lost, _End):
            raise
        except BaseException:
            # A signal handler of the target: what was half read cannot be read on.
            self.lost = _zmtp.LinkError("interrupted")
            raise
        if link.pending():
            link.flush()

    def _work(self, h: _wire.Head, body: bytes) -> None:
        kind = h.type
        if kind == _wire.JOB:
            if len(self.jobs) + bool(self.running) >= self.window:
                raise _broken("a JOB over the window of %d" % self.window)
            self.jobs.append((h, body, self.heard + h.left / 1000))
        elif kind == _wire.CANCEL:
            if h.number == self.running or any(job[0].number == h.number for job in self.jobs):
                self.cancelled.add(h.number)
        elif kind == _wire.DRAIN:
            self.drain = h.text or "the master asks for it"
        elif kind == _wire.BYE:
            self.bye = True
            raise _Lost("the master says BYE%s" % _colon(h.text))
        elif kind == _wire.REFUSED:
            raise _refusal(h)
        else:
            raise _broken("a %s on the work link" % _wire.TYPES[kind])

    def _registration(self, h: _wire.Head, body: bytes) -> None:
        if h.type == _wire.PING:
            self.pong(h.number)
        elif h.type == _wire.REFUSED:
            raise _refusal(h)
        elif h.type != _wire.PONG:
            raise _broken("a %s on the registration link" % _wire.TYPES[h.type])

    def pong(self, number: int) -> None:
        h = _wire.Head(_wire.PONG, number)
        if self.running:
            h.run = min(int((time.monotonic() - self.since) * 1000), _wire.MOST)
            h.held.append(self.running)
        h.held += [job[0].number for job in self.jobs]
        self.reg.queue(_wire.encode(h))
        self.reg.flush()

    def ping(self) -> None:
        self.pings += 1
        self.reg.queue(_wire.bare(_wire.PING, self.pings))
        self.reg.flush()

    def close(self) -> None:
        self.reg.close()
        self.work.close()


class Worker(_fork.Forgets):
    """A worker that answers each job with target(job): bytes in, bytes out.

    master is the path of the master's socket; by default that of the
    environment variable POWERHOSE_MASTER. socket is the path of its own; by
    default NAME.sock beside the master's. name is by default that of the watcher
    under a supervisor, else one with the pid.

    A master on another host is tcp://HOST:PORT. Then socket is tcp://HOST:PORT too, the
    address at which the master reaches this worker, and from which it sees it come;
    port 0 is one that is free. listen is where it listens, if that is not socket:
    tcp://HOST:PORT behind a translation of addresses, where * is every address. key
    is the file of the own secret key and master_key that of the master's public one,
    by default what POWERHOSE_KEY and POWERHOSE_MASTER_KEY name. Both are read here:
    OSError says what is wrong with a file, and ImportError that PyNaCl is missing.

    kinds are the kinds of job that it takes; none is every kind. window is how
    many jobs it is willing to hold, of which one runs; over TCP it is 1. max_jobs, max_age (in
    seconds, shorter by up to a tenth at random) and max_rss (in bytes) are what
    it ends after, between two jobs and with status 0; 0 is never.

    What the target raises is the error of the job, with its traceback; the
    worker goes on. There are no threads.
    """

    def __init__(
        self,
        target: Handler,
        master: Optional[str] = None,
        *,
        name: Optional[str] = None,
        socket: Optional[str] = None,
        kinds: Sequence[str] = (),
        window: int = 4,
        max_jobs: int = 0,
        max_age: float = 0.0,
        max_rss: int = 0,
        allow_uids: Collection[int] = (),
        listen: Optional[str] = None,
        key: Optional[str] = None,
        master_key: Optional[str] = None,
    ) -> None:
        self.target = target
        self.master = _call.address(master)
        self.name = name or _default_name()
        self.socket = _own(self.master, socket, self.name, listen)
        self.listen = listen or ""
        self._keys = _call.keys(self.master, key, master_key)
        self.max_jobs = max_jobs
        self.max_age = max_age * random.uniform(0.9, 1.0)
        self.max_rss = max_rss
        self.jobs = 0  # that it has done
        if not 1 <= window <= _wire.MAX_WINDOW:
            raise ValueError("window %d: 1 to %d are possible" % (window, _wire.MAX_WINDOW))
        self._uids = frozenset((os.geteuid(), *allow_uids))
        self._hello = _wire.Head(_wire.HELLO)
        self._hello.lowest = self._hello.highest = _wire.VERSION
        # A reset of TCP can overtake what was written before it.
        self._hello.window = window if self._keys is None else 1
        self._hello.name = self.name
        self._hello.socket = self.socket
        self._hello.kinds = list(kinds)
        self._hello.language = "python-%d.%d" % sys.version_info[:2]
        self._hello.library = "appbundle-powerhose-" + __version__
        self._hello.incarnation = b"\1" * 16
        try:
            _wire.encode(self._hello)
        except _wire.DecodeError:
            raise ValueError(
                "name %r, kinds %r: letters, digits and . _ + - are possible, at most 64 and 32 of them, and 16 kinds"
                % (self.name, list(kinds))
            ) from None
        self._delays: Sequence[float] = _DELAYS
        self._stop = ""
        self._waker: Optional[sockets.socket] = None
        self._wake: Optional[sockets.socket] = None
        self._listener: Optional[_listen.Listener] = None
        self._session: Optional[_Session] = None
        self._links: List[_zmtp.Link] = []
        self._handlers: Dict[int, Any] = {}
        self._pid = 0
        self._notify = _Notifier()

    def stop(self, reason: str = "asked to") -> None:
        """End after the job that runs. For signal handlers and other threads."""
        self._stop = self._stop or reason
        waker = self._waker
        if waker is not None:
            try:
                waker.send(b"\0")
            except OSError:
                pass  # it is full, and that wakes too

    def run(self) -> int:
        """Work until the end, and return the status of the process: 0, or 69 if the master is lost.

        TERM and INT end it after the job that runs. OSError says that the socket
        cannot be bound.
        """
        self._pid = os.getpid()
        self._born = time.monotonic()
        self._hello.pid = self._pid
        self._hello.incarnation = os.urandom(16)
        self._listener = _listen.listen(self.socket, self.listen)
        self._hello.socket = self._listener.address
        self._wake, self._waker = sockets.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        _fork.watch(self)
        wakeup = -1
        try:
            wakeup = self._catch()
            return self._live()
        finally:
            self._release(wakeup)
            for link in self._links:
                link.close()
            self._listener.close()
            wake, waker = self._wake, self._waker
            self._waker = None
            wake.close()
            waker.close()

    def _catch(self) -> int:
        """Handle the signals, if this thread can."""
        if threading.current_thread() is not threading.main_thread():
            return -1
        assert self._waker is not None
        # A signal between a look at _stop and the poll that follows wakes that.
        wakeup = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._handlers[number] = signal.signal(number, self._signalled)
        return wakeup

    def _signalled(self, number: int, frame: Any) -> None:
        if number == signal.SIGINT and self._stop == "SIGINT":
            raise KeyboardInterrupt
        self.stop(signal.Signals(number).name)

    def _release(self, wakeup: int) -> None:
        if self._handlers:
            for number, handler in self._handlers.items():
                signal.signal(number, handler if handler is not None else signal.SIG_DFL)
            self._handlers.clear()
            signal.set_wakeup_fd(wakeup)

    def _forget(self) -> None:
        """A child that the target forked is no worker."""
        self._release(-1)
        for link in self._links:
            link.close()
        if self._listener is not None:
            self._listener.forget()
        for sock in (self._wake, self._waker):
            if sock is not None:
                sock.close()
        self._waker = None

    def _live(self) -> int:
        failures = 0
        while True:
            try:
                session = self._register()
            except _Stopped:
                return 0
            except _End as e:
                log.error("worker %s: %s", self.name, e)
                return LOST_MASTER
            except (_Lost, _zmtp.LinkError) as e:
                why: Exception = e
            else:
                began = time.monotonic()
                log.info("worker %s: registered with the master at %s", self.name, self.master)
                try:
                    self._serve(session)
                    return 0
                except _End as e:
                    log.error("worker %s: %s", self.name, e)
                    return LOST_MASTER
                except (_Lost, _zmtp.LinkError) as e:
                    why = e
                finally:
                    self._session = None
                    session.close()
                    self._links.clear()
                if time.monotonic() - began >= session.period:
                    failures = 0
            if self._stop:
                return 0
            counts = getattr(why, "counts", True)
            if failures == len(self._delays) and counts:
                log.error("worker %s: the master is lost after %d tries: %s", self.name, failures, why)
                return LOST_MASTER
            delay = self._delays[min(failures, len(self._delays) - 1)] * random.uniform(1 - _JITTER, 1)
            log.warning("worker %s: %s; trying again in %.1f s", self.name, why, delay)
            failures += counts
            assert self._wake is not None
            by = time.monotonic() + delay
            while not self._stop and _zmtp.wait(self._wake.fileno(), select.POLLIN, by):
                self._awake()
            if self._stop:
                return 0

    def _awake(self) -> None:
        """Empty the pipe of wake-ups."""
        assert self._wake is not None
        try:
            while len(self._wake.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass

    # Register and attach.

    def _register(self) -> _Session:
        deadline = time.monotonic() + HANDSHAKE
        sock = _zmtp.dial(self.master, self._uids, deadline, self._writable)
        reg = _zmtp.Link(sock, _zmtp.DEALER, curve=_call.client(self._keys))
        self._links.append(reg)
        try:
            assert self._listener is not None and self._wake is not None
            self._listener.refuse_all()  # of an earlier registration
            hello = _wire.encode(self._hello)
            reg.queue(hello)
            messages: List[_zmtp.Message] = []
            while not messages:
                fds = {reg.fd: select.POLLIN | (0 if reg.flush() else select.POLLOUT)}
                self._wait(fds, deadline, "the master does not answer")
                messages = reg.receive() or []
            welcome = _read(*messages[0])
            if welcome.type == _wire.REFUSED:
                raise _refusal(welcome)
            if welcome.type != _wire.WELCOME:
                raise _broken("a %s, and not WELCOME" % _wire.TYPES[welcome.type])
            if welcome.version != _wire.VERSION:
                text = "the master chose version %d; this worker speaks version %d" % (welcome.version, _wire.VERSION)
                reg.send(_wire.coded(_wire.REFUSED, _wire.BAD_VERSION, text), None, deadline)
                raise _End(text)
            work, early = self._attach(reg, welcome, hello)
            self._links.append(work)
            for link in self._links:
                _zmtp.watch(link.sock, welcome.period / 1000, welcome.tries)
            session = _Session(reg, work, welcome, self._listener, self._wake.fileno())
            for head, body in messages[1:] + early:
                session._registration(_read(head, body), b"")
            return session
        except BaseException as e:
            if isinstance(e, _zmtp.ProtocolError):
                _complain(reg, e)
            for link in self._links:
                link.close()
            self._links.clear()
            raise

    def _writable(self, fd: int, deadline: float) -> bool:
        """Wait until a connection is made. False if the deadline was first."""
        try:
            return bool(self._wait({fd: select.POLLOUT}, deadline, ""))
        except _zmtp.LinkError:
            return False

    def _wait(self, fds: Dict[int, int], deadline: float, late: str) -> Set[int]:
        """Wait for one of the descriptors, or for the wish to end."""
        assert self._wake is not None
        poll = select.poll()
        for fd, events in fds.items():
            poll.register(fd, events)
        poll.register(self._wake.fileno(), select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(_zmtp.left(deadline))}
            if self._wake.fileno() in ready:
                self._awake()
                ready.discard(self._wake.fileno())
            if self._stop:
                raise _Stopped
            if ready:
                return ready
            if time.monotonic() >= deadline:
                raise _zmtp.LinkError(late)

    def _attach(self, reg: _zmtp.Link, welcome: _wire.Head, hello: bytes) -> Tuple[_zmtp.Link, List[_zmtp.Message]]:
        """Accept the one link on which the master says what it said on the other."""
        assert self._listener is not None
        candidates: Dict[int, _zmtp.Link] = {}
        early: List[_zmtp.Message] = []
        deadline = time.monotonic() + HANDSHAKE
        found = None
        try:
            while found is None:
                fds = {link.fd: select.POLLIN | (0 if not link.pending() else select.POLLOUT) for link in candidates.values()}
                fds[reg.fd] = fds[self._listener.fileno()] = select.POLLIN
                for fd in self._wait(fds, deadline, "the master does not connect to %s" % self._listener.address):
                    if fd == reg.fd:
                        for message in reg.receive() or ():
                            h = _read(*message)
                            if h.type == _wire.REFUSED:
                                raise _refusal(h)
                            early.append(message)
                    elif fd == self._listener.fileno():
                        sock = self._listener.accept()
                        if sock is None:
                            continue
                        curve = None
                        if self._keys is not None:
                            curve = _curve.Curve(self._keys, server=True)
                        elif not self._admitted(sock):
                            continue
                        if len(candidates) >= _CANDIDATES:
                            # The oldest; whoever has shown a key is not pushed out by strangers.
                            candidates.pop(min(candidates, key=lambda fd: candidates[fd].conn.ready)).close()
                        link = _zmtp.Link(sock, _zmtp.ROUTER, curve=curve)
                        candidates[link.fd] = link
                        link.flush()
                    elif fd in candidates:
                        link = candidates[fd]
                        try:
                            messages = link.receive()
                            link.flush()
                            if not messages:
                                continue
                            h = _read(*messages[0])
                            if h.type != _wire.WELCOME or h.incarnation != welcome.incarnation or len(messages) > 1:
                                raise _zmtp.ProtocolError("not the master that said WELCOME")
                            link.send(hello, None, deadline)
                        except _zmtp.LinkError as e:
                            log.warning("worker %s: a link to %s: %s", self.name, self._listener.address, e)
                            del candidates[fd]
                            link.farewell()
                            continue
                        found = candidates.pop(fd)
                        break
        finally:
            for link in candidates.values():
                link.close()
        return found, early

    def _admitted(self, sock: sockets.socket) -> bool:
        """Whether the process at the other end is of a user who is a master. If not, its link is closed."""
        peer = _zmtp.peer_of(sock)
        if peer.uid in self._uids:
            return True
        log.warning("worker %s: process %d of user %d is not admitted", self.name, peer.pid, peer.uid)
        sock.close()
        return False

    # Work.

    def _serve(self, s: _Session) -> None:
        """Do jobs until this worker has left. _Lost and LinkError say that the master is lost."""
        self._session = s
        self._notify.ready()
        s.heard = s.quiet = time.monotonic()
        ping_at = s.quiet + s.period
        while True:
            # Everything that is there is read before a job is started: it may be
            # a CANCEL, or the end of a link.
            if s.wait(0 if s.jobs else self._idle(s, ping_at)):
                if s.woken:
                    self._awake()
                continue
            if s.lost is not None:
                raise s.lost
            code, reason = self._reason(s)
            if reason:
                self._leave(s, code, reason)
                return
            if s.jobs:
                self._next(s)
                s.heard = s.quiet = time.monotonic()
                ping_at = s.quiet + s.period
                continue
            now = time.monotonic()
            if now >= s.quiet + _IDLE:
                self._notify.busy(False)
            if now >= max(s.heard, s.quiet) + s.period * s.welcome.tries:
                raise _Lost("the master is silent")
            if now >= ping_at:
                s.ping()
                ping_at = now + s.period

    def _idle(self, s: _Session, ping_at: float) -> int:
        """Milliseconds that an idle worker may wait."""
        until = min(ping_at, max(s.heard, s.quiet) + s.period * s.welcome.tries)
        if self._notify.told:
            until = min(until, s.quiet + _IDLE)
        if self.max_age:
            until = min(until, self._born + self.max_age)
        return 0 if self._stop or s.drain else _zmtp.left(until)

    def _reason(self, s: _Session) -> Tuple[int, str]:
        """Why it is to leave now, if it is."""
        if self._stop:
            return _wire.STOP, self._stop
        if s.drain:
            return _wire.STOP, s.drain
        if self.max_jobs and self.jobs >= self.max_jobs:
            return _wire.MAX_JOBS, "%d jobs are done" % self.jobs
        if self.max_age and time.monotonic() - self._born >= self.max_age:
            return _wire.MAX_AGE, "%.0f s old" % (time.monotonic() - self._born)
        # The highest ever is cheap to ask for, and mostly says enough.
        if self.max_rss and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 >= self.max_rss:
            rss = _rss()
            if rss >= self.max_rss:
                return _wire.MAX_RSS, "%d bytes resident" % rss
        return 0, ""

    def _next(self, s: _Session) -> None:
        """Start the first job, and answer it."""
        h, body, expires = s.jobs.popleft()
        now = time.monotonic()
        if h.number in s.cancelled:
            s.cancelled.discard(h.number)
            self._error(s, h.number, _wire.CANCELLED, 0, "cancelled before it was started")
            return
        if now >= expires:
            self._error(s, h.number, _wire.EXPIRED, 0, "the deadline was over before it was started")
            return
        job = Job(body)
        job.number, job.attempt, job.kind = h.number, h.attempt, h.kind
        job.repeatable = bool(h.flags & _wire.REPEATABLE)
        job._wants_progress = bool(h.flags & _wire.WANTS_PROGRESS)
        job._expires, job._session = expires, s
        self._notify.busy(True)
        s.running, s.since = h.number, now
        code, text, detail = 0, "", b""
        result: Any = None
        try:
            result = self.target(job)
        except _errors.ErrRejected as e:
            code, text, detail = _wire.REJECTED, e.text, e.detail
        except _errors.ErrCancelled as e:
            code, text, detail = _wire.CANCELLED, e.text, e.detail
        except _errors.ErrPanic as e:
            code, text, detail = _wire.PANIC, e.text, e.detail
        except _errors.ErrApplication as e:
            code, text, detail = _wire.APPLICATION, e.text, e.detail
        except Exception as e:
            code, text, detail = _wire.APPLICATION, *_words(e)
        except KeyboardInterrupt:
            raise
        except BaseException as e:  # sys.exit in a target ends the job, not the worker
            code, text, detail = _wire.PANIC, *_words(e)
        finally:
            s.running = 0
            s.cancelled.discard(h.number)
            if os.getpid() != self._pid:
                # A child that the target forked, and that came back.
                os._exit(70)
        run = min(int((time.monotonic() - now) * 1e6) + 1, _wire.MOST)
        self.jobs += 1
        if s.lost is not None:
            raise s.lost
        if code:
            self._error(s, h.number, code, run, text, detail)
        elif not isinstance(result, (bytes, bytearray, memoryview)):
            self._error(s, h.number, _wire.PANIC, run, "the target returned %s, and not bytes" % type(result).__name__)
        else:
            data = bytes(result)
            if len(data) > s.max_body:
                self._error(s, h.number, _wire.APPLICATION, run, "the result has %d bytes; the master takes at most %d (its --max-body)" % (len(data), s.max_body))
            else:
                s.work.send(_wire.result(h.number, run), data, s.patience())

    def _error(self, s: _Session, number: int, code: int, run: int, text: str, detail: bytes = b"") -> None:
        h = _wire.Head(_wire.ERROR, number)
        h.code, h.run, h.text = code, run, _wire.cut(text)
        s.work.send(_wire.encode(h), detail[: s.max_body], s.patience())

    def _leave(self, s: _Session, code: int, reason: str) -> None:
        """Say goodbye: nothing that was not started is kept."""
        log.info("worker %s: leaves: %s", self.name, reason)
        self._notify.stopping()
        deadline = time.monotonic() + _FAREWELL
        try:
            s.work.queue(_wire.coded(_wire.DRAIN, code, reason))
            self._return(s)
            s.work.queue(_wire.coded(_wire.BYE, code))
            while True:
                if not s.work.flush_by(deadline):
                    return
                if not s.wait(_zmtp.left(deadline)):
                    return
                self._awake()
                self._return(s)
        except (_zmtp.LinkError, _Lost, _End) as e:
            # The BYE of the master, or its end: there is nothing left to lose.
            if not s.bye:
                log.info("worker %s: the master did not say BYE: %s", self.name, e)

    def _return(self, s: _Session) -> None:
        while s.jobs:
            s.work.queue(_wire.bare(_wire.RETURNED, s.jobs.popleft()[0].number))


class _Notifier:
    """Tells the supervisor, if there is one, on NOTIFY_SOCKET.

    BUSY is 1/1 from the start of a job until the worker has been idle for a
    moment: many short jobs are not many notices, and a long one is always seen.
    READY and STOPPING decide what the end of the process is taken for: they wait
    a second for a supervisor that does not read.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address[:1] == "@" else address
        self._sock: Optional[sockets.socket] = None
        self._ready = False
        self.told = False

    def ready(self) -> None:
        if not self._ready:
            self._ready = True
            self._send("READY=1\nBUSY=0/1", 0)

    def busy(self, is_busy: bool) -> None:
        if is_busy != self.told:
            self.told = is_busy
            self._send("BUSY=%d/1" % is_busy, sockets.MSG_DONTWAIT)

    def stopping(self) -> None:
        self._send("STOPPING=1", 0)

    def _send(self, text: str, flags: int) -> None:
        if not self._address:
            return
        try:
            if self._sock is None:
                self._sock = sockets.socket(sockets.AF_UNIX, sockets.SOCK_DGRAM)
                self._sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_SNDTIMEO, struct.pack("ll", 1, 0))
            self._sock.sendto(text.encode("ascii"), flags, self._address)
        except OSError:
            pass  # a supervisor that does not listen is no reason not to work


def _read(head: bytes, body: Optional[bytes]) -> _wire.Head:
    try:
        h = _wire.decode(head)
    except _wire.DecodeError as e:
        raise _zmtp.ProtocolError(str(e)) from None
    if _wire.has_body(h.type) != (body is not None):
        raise _zmtp.ProtocolError("a %s %s a body" % (_wire.TYPES[h.type], "with" if body is not None else "without"))
    return h


def _refusal(h: _wire.Head) -> Exception:
    text = "the master refuses (%d)%s" % (h.code, _colon(h.text))
    if h.code in _FINAL:
        return _End(text)
    e = _Lost(text)
    e.counts = h.code != _wire.TOO_FAST
    return e


def _broken(text: str) -> _zmtp.ProtocolError:
    e = _zmtp.ProtocolError(text)
    e.code = _wire.BROKEN
    return e


def _complain(link: _zmtp.Link, e: _zmtp.ProtocolError) -> None:
    """Tell a peer what is wrong with it, if the link can still carry that."""
    try:
        if link.conn.ready:
            link.queue(_wire.coded(_wire.REFUSED, e.code, str(e)))
            link.flush()
    except _zmtp.LinkError:
        pass


def _colon(text: str) -> str:
    return ": " + text if text else ""


def _words(e: BaseException) -> Tuple[str, bytes]:
    """The last line of a traceback, and all of it without our own part."""
    text = "".join(traceback.format_exception_only(type(e), e)).strip()
    trace = e.__traceback__.tb_next if e.__traceback__ else None
    detail = "".join(traceback.format_exception(type(e), e, trace)).encode("utf-8", "backslashreplace")
    return text, detail[-_DETAIL:]


def _rss() -> int:
    """Bytes that are resident now."""
    with open("/proc/self/statm", "rb") as f:
        return int(f.read().split()[1]) * resource.getpagesize()


def _own(master: str, own: Optional[str], name: str, listen: Optional[str]) -> str:
    """The place of a worker's own socket, which is of the same kind as that of the master."""
    if not _zmtp.is_tcp(master):
        own = _zmtp.place(own or os.path.join(os.path.dirname(master), name + ".sock"))
        if _zmtp.is_tcp(own):
            raise ValueError("%s: the master is at a Unix socket, %s; so is its worker" % (own, master))
        if listen:
            raise ValueError("%s: listen is for a socket over TCP" % listen)
        return own
    hint = "give tcp://HOST:PORT, the address at which the master reaches this worker; port 0 is one that is free"
    if not own:
        raise ValueError("a worker of %s needs a socket: %s" % (master, hint))
    if not _zmtp.is_tcp(own):
        raise ValueError("%s: a master at %s cannot reach this socket: %s" % (own, master, hint))
    host, port = _zmtp.host_port(own)
    try:
        number = sockets.getaddrinfo(host, port, type=sockets.SOCK_STREAM, flags=sockets.AI_NUMERICHOST)[0][4][0]
    except OSError:
        number = host  # a name
    if host == "*" or number in ("0.0.0.0", "::"):
        raise ValueError("%s: that is every address of this host: %s" % (own, hint))
    if listen:
        if not _zmtp.is_tcp(listen):
            raise ValueError("%s: not tcp://HOST:PORT, where a worker over TCP listens" % listen)
        _zmtp.host_port(listen)
        if port == 0:
            raise ValueError("%s: give the port that leads to %s" % (own, listen))
    return own


def _default_name() -> str:
    watcher, wid = os.environ.get("APPBUNDLE_WATCHER"), os.environ.get("APPBUNDLE_WID")
    if watcher and wid:
        return "%s.%s" % (watcher, wid)
    return "python-%d" % os.getpid()
