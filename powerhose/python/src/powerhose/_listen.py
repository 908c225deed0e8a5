"""The socket of a worker."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import socket
import stat
from typing import Any, Optional

from . import _zmtp

# What is wrong with one connection, and not with the listener.
_GONE = (
    errno.EAGAIN, errno.ECONNABORTED, errno.EINTR, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN, errno.ENONET,
    errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH,
)  # fmt: skip


class Listener:
    """Where a worker waits for its master."""

    address: str  # that the master is told
    _sock: Optional[socket.socket] = None

    def fileno(self) -> int:
        assert self._sock is not None
        return self._sock.fileno()

    def accept(self) -> Optional[socket.socket]:
        """A peer that waits, or None."""
        assert self._sock is not None
        try:
            return self._sock.accept()[0]
        except OSError as e:
            if e.errno in _GONE:
                return None
            raise

    def refuse_all(self) -> None:
        """Close the links of all peers that wait."""
        while True:
            sock = self.accept()
            if sock is None:
                return
            sock.close()

    def close(self) -> None:
        """Stop listening."""
        self.forget()

    def forget(self) -> None:
        """Close the descriptors, and leave the rest to another process that has them."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None


class UnixListener(Listener):
    """A Unix socket of mode 0600 in a directory of mode 0700.

    While it lives PATH.lock is locked. A socket there that nobody listens at is
    replaced. OSError says why it cannot be.
    """

    def __init__(self, path: str) -> None:
        self.address = self.path = path
        directory = os.path.dirname(path)
        _private(directory)
        self._lock = _lock(path)
        try:
            _probe(path)
            self._sock = self._bind(directory)
        except BaseException:
            _remove_lock(path, self._lock)
            os.close(self._lock)
            raise

    def _bind(self, directory: str) -> socket.socket:
        # Through the directory's descriptor: with its path a name beside the
        # last one may be longer than the kernel takes.
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        name = hashlib.sha256(os.fsencode(os.path.basename(self.path))).hexdigest()[:16]
        temporary = "/proc/self/fd/%d/.bind.%s" % (at, name)
        try:
            if os.path.lexists(temporary):
                os.unlink(temporary)  # of who was killed here: we have the lock
            os.fchmod(sock.fileno(), 0o600)  # the file begins with the mode of its socket
            sock.bind(temporary)
            try:
                os.chmod(temporary, 0o600)
                info = os.lstat(temporary)
                self._id = (info.st_dev, info.st_ino)
                sock.listen(16)
                sock.setblocking(False)
                os.rename(temporary, self.path)
            except BaseException:
                os.unlink(temporary)
                raise
        except BaseException:
            sock.close()
            raise
        finally:
            os.close(at)
        return sock

    def close(self) -> None:
        """Stop listening. The socket goes if it is still ours."""
        if self._sock is None:
            return
        # The file first: a successor that finds a socket asks who listens.
        try:
            info = os.lstat(self.path)
            if (info.st_dev, info.st_ino) == self._id:
                os.unlink(self.path)
        except OSError:
            pass
        _remove_lock(self.path, self._lock)
        self.forget()

    def forget(self) -> None:
        if self._sock is not None:
            os.close(self._lock)
        super().forget()


class TCPListener(Listener):
    """A port, 0 for one that is free. Who connects there is judged by CURVE.

    The master is told an IP address, for it looks up no names that others give
    it. That is the one which is listened at, or the one of told.
    """

    def __init__(self, address: str, told: str = "") -> None:
        host, port = _zmtp.host_port(address)
        if host == "*":
            host = "::" if socket.has_dualstack_ipv6() else "0.0.0.0"
        found = _find(address, host, port)
        for i, (family, kind, protocol, _, where) in enumerate(found):
            try:
                self._sock = _bind_tcp(socket.socket(family, kind, protocol), where)
                break
            except OSError as e:
                if i < len(found) - 1:
                    continue  # a name may have an address that this host does not have
                hint = "; give each worker a port of its own, or 0 for a free one" if e.errno == errno.EADDRINUSE else ""
                raise OSError(e.errno, "%s: %s%s" % (address, _zmtp.reason(e), hint)) from None
        assert self._sock is not None
        host, port = self._sock.getsockname()[:2]
        if told:
            host, port = _zmtp.host_port(told)
            host = str(_find(told, host, port)[0][4][0])
        host = host.partition("%")[0]  # the zone is that of this host
        self.address = "tcp://%s:%d" % ("[%s]" % host if ":" in host else host, port)

    def accept(self) -> Optional[socket.socket]:
        sock = super().accept()
        if sock is not None:
            _zmtp.prepare(sock)
        return sock


def _find(address: str, host: str, port: int) -> "list[tuple[Any, ...]]":
    try:
        found: "list[tuple[Any, ...]]" = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return found
    except OSError as e:
        raise OSError(errno.EADDRNOTAVAIL, "%s: %s" % (address, _zmtp.reason(e))) from None


def _bind_tcp(sock: socket.socket, where: "tuple[Any, ...]") -> socket.socket:
    try:
        # A port that this worker had before its restart is free again.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if where[0] == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(where)
        sock.listen(16)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def listen(address: str, at: str = "") -> Listener:
    """Listen at a path, or at tcp://HOST:PORT. What leads to another address is listened for there."""
    if at:
        return TCPListener(at, address)
    return TCPListener(address) if _zmtp.is_tcp(address) else UnixListener(address)


def _private(directory: str) -> None:
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        pass
    info = os.stat(directory)
    if not stat.S_ISDIR(info.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "%s: is no directory" % directory)
    if info.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "%s: belongs to user %d; choose a directory of your own" % (directory, info.st_uid))
    mode = stat.S_IMODE(info.st_mode)
    if mode & 0o077:
        raise PermissionError(errno.EPERM, "%s: has mode %04o, others come in; chmod 700 %s" % (directory, mode, directory))


def _is_there(path: str, fd: int) -> bool:
    """Whether the file of the lock is the one that is locked."""
    try:
        return os.path.samestat(os.fstat(fd), os.lstat(path + ".lock"))
    except OSError:
        return False


def _remove_lock(path: str, fd: int) -> None:
    """Remove the file of a lock, while it is ours."""
    try:
        if _is_there(path, fd):
            os.unlink(path + ".lock")
    except OSError:
        pass


def _lock(path: str) -> int:
    while True:
        fd = _try_lock(path)
        if _is_there(path, fd):
            return fd
        os.close(fd)  # it was removed by who had it before


def _try_lock(path: str) -> int:
    fd = os.open(path + ".lock", os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        try:
            _probe(path)
        except OSError as e:
            raise e from None
        raise OSError(errno.EADDRINUSE, "%s: in use: another process holds %s.lock" % (path, os.path.basename(path))) from None
    return fd


def _probe(path: str) -> None:
    """Raise OSError unless path is free, or a socket that nobody listens at."""
    try:
        info = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(info.st_mode):
        raise OSError(errno.EADDRINUSE, "%s: there is something that is not a socket; remove it, or choose another path" % path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        try:
            sock.connect(path)
            pid = _zmtp.peer_of(sock).pid
        except (ConnectionRefusedError, FileNotFoundError):
            return
        except BlockingIOError:
            raise OSError(errno.EADDRINUSE, "%s: in use: another process listens there" % path) from None
    raise OSError(errno.EADDRINUSE, "%s: in use: process %d listens there" % (path, pid))
