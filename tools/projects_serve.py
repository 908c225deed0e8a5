"""Installs an app, imports what it needs, and asks it over HTTP."""
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

from projects_work import Failure, median, quietly, remove, timed

PATIENCE = 90  # seconds for the first answer, and for the end


def install(work, chosen, app):
    """Installs with an empty cache and with a full one, and imports."""
    env = app + "/.appbundle/env"
    cold, _ = timed(lambda: work.run("install", app, "--python", work.python))
    warm = median(work.rounds, lambda: remove(env), lambda: work.run("install", app, "--python", work.python))
    modules = chosen.imports.split()
    done = quietly([env + "/bin/python", "-c", "import " + ", ".join(modules)], cwd=work.dir, env={**os.environ, "AIRFLOW_HOME": work.dir + "/airflow"})
    if done.returncode != 0:
        raise Failure(f"import: {done.stderr.strip()}")
    return {"cold": cold, "warm": warm, "imported": modules}


def serve(work, chosen, app):
    """Runs the app, and gives the name of the server that answered."""
    port = free_port()
    argv = [work.binary, "run", "--run-dir", work.dir + "/run", "--state-dir", work.dir + "/state", app]
    if not chosen.executable:  # it is told by its environment
        argv[2:2] = ["--bind", f"127.0.0.1:{port}"]
    home = {"PORT": str(port), "HOME": work.dir}
    with open(work.dir + "/run.log", "w+", encoding="utf-8") as log:
        run = subprocess.Popen(argv, stdout=log, stderr=log, env={**os.environ, **home})
        try:
            start = time.monotonic()
            text, server = ask(run, f"http://127.0.0.1:{port}{chosen.path}", start + PATIENCE)
            took = time.monotonic() - start
        except TimeoutError as err:
            raise Failure(f"run: {err}\n{tail(log)}") from None
        finally:
            status = end(run)
        if chosen.answer not in text:
            raise Failure(f"run: it answers {text[:200]!r}, not {chosen.answer!r}")
        if status != 0:
            raise Failure(f"run: after TERM it ends with status {status}\n{tail(log)}")
    return {"server": server, "path": chosen.path, "after": took}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def ask(run, url, until):
    """Gives the first answer of an app that is starting, and who it is from."""
    while run.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as response:
                return response.read().decode(), response.headers.get("Server", "").partition("/")[0]
        except urllib.error.HTTPError as err:
            raise TimeoutError(f"it answers {err}") from None
        except OSError:
            time.sleep(0.05)
    raise TimeoutError("no answer")


def end(run):
    """Ends what runs, and gives its status."""
    if run.poll() is None:
        run.send_signal(signal.SIGTERM)
    try:
        return run.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        run.kill()
        return f"none in {PATIENCE} s, {run.wait()}"


def tail(log):
    log.seek(0)
    return "".join(log.readlines()[-20:])
