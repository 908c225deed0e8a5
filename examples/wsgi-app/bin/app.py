"""A small web application: what a bundle needs, and nothing else.

/          who answers, as JSON, or as HTML for a browser
/pid       the process that answers
/slow      answers late: /slow?ms=250
"""

import os
import time

from flask import Flask, jsonify, render_template_string, request

PAGE = """<!doctype html>
<html lang="en">
<title>{{ name }}</title>
<h1>It works</h1>
<p>{{ name }} {{ version }}, process {{ pid }}.</p>
</html>
"""

application = Flask(__name__)


def identity():
    """Say who this is; a supervisor that knows tells by the environment."""
    return {
        "name": os.environ.get("APPBUNDLE_NAME", "wsgi-app"),
        "version": os.environ.get("APPBUNDLE_VERSION", ""),
        "pid": os.getpid(),
    }


@application.get("/")
def index():
    """Answer with JSON, or with a page where the client prefers HTML."""
    best = request.accept_mimetypes.best_match(["application/json", "text/html"])
    if best == "text/html":
        return render_template_string(PAGE, **identity())
    return jsonify(identity())


@application.get("/pid")
def pid():
    """Answer with the number of the process, as text."""
    return f"{os.getpid()}\n", {"Content-Type": "text/plain; charset=utf-8"}


@application.get("/slow")
def slow():
    """Answer after ms milliseconds, at most a minute."""
    ms = request.args.get("ms", default=100, type=int)
    if not 0 <= ms <= 60_000:
        return f"ms is 0 to 60000, not {ms}\n", 400
    time.sleep(ms / 1000)
    return jsonify(identity())
