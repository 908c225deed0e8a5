"""A web app whose requests are jobs. With PRELOADED it has a connection before the server forks."""

import os

import powerhose

runner = powerhose.JobRunner()
if os.environ.get("PRELOADED"):
    assert runner.execute(b"preloaded", timeout=90.0, busy_wait=90.0, repeatable=True) == b"preloaded"


def application(environ, start_response):
    job = environ["wsgi.input"].read()
    result = runner.execute(job, timeout=90.0, busy_wait=90.0, repeatable=True)
    start_response("200 OK", [("Content-Type", "application/octet-stream"), ("X-PID", str(os.getpid()))])
    return [result]
