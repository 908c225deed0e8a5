"""A web application with work for the processor, and without a framework.

/cpu          10 ms of work, done by a Powerhose worker
/cpu-direct   the same work, done here
/io           waits for 5 ms, as for a database

What stands behind the question mark of the first two is the input of the work.
"""

import time

import digest
import powerhose

runner = powerhose.JobRunner()


def cpu(job):
    """Wait for a worker's answer, in line if none is free. A digest whose worker dies is computed again."""
    return runner.execute(job, timeout=10.0, busy_wait=10.0, repeatable=True)


def io(_):
    """Wait; under gevent other requests go on meanwhile."""
    time.sleep(0.005)
    return b"waited"


ROUTES = {"/cpu": cpu, "/cpu-direct": digest.digest, "/io": io}


def application(environ, start_response):
    """Answer by the path."""
    status, route = "200 OK", ROUTES.get(environ["PATH_INFO"])
    if route is None:
        status, body = "404 Not Found", b"no such path"
    else:
        try:
            body = route(environ["QUERY_STRING"].encode())
        except powerhose.Error as e:  # no worker is free, or none was in time
            status, body = "503 Service Unavailable", str(e).encode()
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body) + 1))])
    return [body + b"\n"]
