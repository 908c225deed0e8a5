"""The Unix socket of a worker."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from typing import Optional

from . import _zmtp


class Listener:
    """A Unix socket of mode 0600 in a directory of mode 0700.

    While it lives PATH.lock is locked; that file stays. A socket there that
    nobody listens at is replaced. OSError says why it cannot be.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._sock: Optional[socket.socket] = None
        directory = os.path.dirname(path)
        _private(directory)
        self._lock = _lock(path)
        try:
            _probe(path)
            self._sock = self._bind(directory)
        except BaseException:
            os.close(self._lock)
            raise

    def _bind(self, directory: str) -> socket.socket:
        # Through the directory's descriptor: with its path a name beside the
        # last one may be longer than the kernel takes.
        at = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        temporary = "/proc/self/fd/%d/.bind.%d" % (at, os.getpid())
        try:
            if os.path.lexists(temporary):
                os.unlink(temporary)  # of a process with our pid, which is gone
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

    def fileno(self) -> int:
        assert self._sock is not None
        return self._sock.fileno()

    def accept(self) -> Optional[socket.socket]:
        """A peer that waits, or None."""
        assert self._sock is not None
        try:
            return self._sock.accept()[0]
        except OSError as e:
            if e.errno in (errno.EAGAIN, errno.ECONNABORTED, errno.EINTR):
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
        self.forget()

    def forget(self) -> None:
        """Close the descriptors, and leave the file to another process that has them."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None
            os.close(self._lock)


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


def _lock(path: str) -> int:
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
