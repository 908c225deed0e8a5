"""The decorator for targets."""

from __future__ import annotations

import functools
import sys
from typing import Any, Callable, Dict, Optional, Union, overload

from ._worker import Handler, Job, Worker


class Target:
    """A function that does jobs, and how its workers are to be. Calling it calls the function."""

    def __init__(self, function: Handler, options: Dict[str, Any]) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._options = options

    def __call__(self, job: Union[Job, bytes]) -> bytes:
        return self._function(job if isinstance(job, Job) else Job(job))

    def worker(self, master: Optional[str] = None, **options: Any) -> Worker:
        """A worker with the arguments of the decorator, where options do not say otherwise."""
        if master is not None:
            options["master"] = master
        return Worker(self._function, **{**self._options, **options})

    def run(self) -> None:
        """Be a worker until the end of the process: what a script ends with."""
        sys.exit(self.worker().run())


@overload
def target(function: Handler) -> Target: ...
@overload
def target(**options: Any) -> Callable[[Handler], Target]: ...
def target(function: Optional[Handler] = None, **options: Any) -> Any:
    """Make a function the target of workers.

    The arguments, if any, are those of Worker:

        @powerhose.target
        def square(job): ...

        @powerhose.target(kinds=["sign"], max_jobs=10000)
        def sign(job): ...

    Both are run by "python -m powerhose MODULE:FUNCTION", or by square.run().
    """
    if function is not None:
        return Target(function, options)
    return lambda function: Target(function, options)
