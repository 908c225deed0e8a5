"""python -m powerhose MODULE:FUNCTION is a worker."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import traceback
from typing import Any, Dict, List, Optional

from ._target import Target
from ._worker import Worker

_SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _bytes(text: str) -> int:
    """A size, with K, M or G for powers of 1024."""
    factor = _SUFFIXES.get(text[-1:].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    if not digits.isascii() or not digits.isdigit():
        raise argparse.ArgumentTypeError("%r: a number of bytes, or one with K, M or G" % text)
    return int(digits) * factor


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(prog="powerhose-worker", description="Do jobs with a function of a module, until the end.")
    p.add_argument("target", metavar="MODULE:FUNCTION", help="the function: bytes in, bytes out")
    p.add_argument("--master", metavar="PATH", help="the master's socket, or tcp://HOST:PORT (default: $POWERHOSE_MASTER)")
    p.add_argument("--name", help="of the worker (default: that of the watcher)")
    p.add_argument("--socket", metavar="PATH", help="the worker's own socket (default: NAME.sock beside the master's); over TCP, tcp://HOST:PORT at which the master reaches it, port 0 for a free one")
    p.add_argument("--listen", metavar="tcp://HOST:PORT", help="listen here, where another address of --socket leads to")
    p.add_argument("--key", metavar="FILE", help="over TCP: the worker's secret key (default: $POWERHOSE_KEY)")
    p.add_argument("--master-key", metavar="FILE", help="over TCP: the public key of the master (default: $POWERHOSE_MASTER_KEY)")
    p.add_argument("--kind", action="append", dest="kinds", metavar="KIND", help="take jobs of this kind alone; may be repeated")
    p.add_argument("--window", type=int, metavar="N", help="jobs to hold, of which one runs (default: 4; over TCP 1)")
    p.add_argument("--max-jobs", type=int, metavar="N", help="end after N jobs")
    p.add_argument("--max-age", type=float, metavar="SECONDS", help="end at this age, or up to a tenth earlier")
    p.add_argument("--max-rss", type=_bytes, metavar="SIZE", help="end when this much memory is resident: 500M, 2G")
    return p


def main(argv: Optional[List[str]] = None) -> int:
    """Be a worker. The status is 0, 2 for bad usage, 3 where it cannot start, 69 if it lost its master."""
    parser = _parser()
    options: Dict[str, Any] = {k: v for k, v in vars(parser.parse_args(argv)).items() if v is not None}
    module, colon, function = options.pop("target").partition(":")
    if not (module and colon and function):
        parser.error("MODULE:FUNCTION is wanted, as in shop.jobs:price")
    logging.basicConfig(level=logging.INFO, format="powerhose: %(message)s", stream=sys.stderr)
    sys.path.insert(0, "")  # python -m has it; the script has not
    try:
        found: Any = importlib.import_module(module)
        for part in function.split("."):
            found = getattr(found, part)
        if not callable(found):
            raise TypeError("is not a function")
    except Exception as e:
        traceback.print_exc()
        print("powerhose: %s:%s: %s" % (module, function, e), file=sys.stderr)
        return 3
    try:
        worker = found.worker(**options) if isinstance(found, Target) else Worker(found, **options)
    except ValueError as e:
        parser.error(str(e))
    except (OSError, ImportError) as e:
        print("powerhose: %s" % (getattr(e, "strerror", None) or e), file=sys.stderr)
        return 3
    try:
        return worker.run()
    except OSError as e:
        print("powerhose: worker %s: %s" % (worker.name, e.strerror or e), file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
