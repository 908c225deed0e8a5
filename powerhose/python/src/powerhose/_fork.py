"""What must not live on in a child that was forked."""

from __future__ import annotations

import os
import weakref


class Forgets:
    """Something with descriptors or handlers that belong to one process."""

    def _forget(self) -> None:
        """Called in a child, before it does anything else."""
        raise NotImplementedError


_all: "weakref.WeakSet[Forgets]" = weakref.WeakSet()


def watch(thing: Forgets) -> None:
    """Have thing forget in each child that is forked from now on."""
    _all.add(thing)


def _in_child() -> None:
    for thing in list(_all):
        thing._forget()


os.register_at_fork(after_in_child=_in_child)
