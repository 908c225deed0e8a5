"""A package index on loopback that answers as the real one did, after a fixed
delay: what programs that ask an index are measured against.

An answer is recorded when it is first asked for, into a directory, and is the
recorded one from then on: pages, metadata, whole files and ranges of them, with
the validators that the real index sends. Only the URLs of files are changed, so
that they lead back here.
"""
import asyncio
import hashlib
import http.client
import json
import os
import re
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

JSON = "application/vnd.pypi.simple.v1+json"
KEPT = ("Content-Type", "Content-Range", "Accept-Ranges", "ETag", "Last-Modified", "Cache-Control", "Content-Length")
DEFAULT = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"


def configured(python):
    """The index and the certificates of pip: its configuration, else its own default."""
    def option(name):
        ask = subprocess.run([python, "-m", "pip", "config", "get", name], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return ask.stdout.strip()

    url = os.environ.get("PIP_INDEX_URL") or option("global.index-url")
    if not url:
        url = subprocess.run([python, "-c", DEFAULT], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return url.rstrip("/"), os.environ.get("PIP_CERT") or option("global.cert") or None


class Index:
    """Serves the index at upstream, as recorded in directory, while it is entered."""

    def __init__(self, upstream, certificates, directory, delay):
        self.upstream, self.directory, self.delay = upstream, directory, delay
        self.tls = ssl.create_default_context(cafile=certificates)
        self.recorded = 0  # answers that were not known
        self.small = {}  # answers that were read before
        os.makedirs(directory, exist_ok=True)

    def __enter__(self):
        self.loop = asyncio.new_event_loop()
        self.server = self.loop.run_until_complete(self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=512))
        self.origin = b"http://127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
        self.url = self.origin.decode() + "/simple"
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.server.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()

    async def answer(self, method, path, wanted):
        """The status, headers and body of a request for the range wanted, "" for all."""
        name = hashlib.sha256(f"{method} {self.upstream} {path} {wanted}".encode()).hexdigest()
        if name in self.small:
            return self.small[name]
        at = os.path.join(self.directory, name)
        if not os.path.exists(at):
            self.recorded += 1
            await self.loop.run_in_executor(None, self.record, at, method, path, wanted)
        with open(at, "rb") as f:
            known = json.loads(f.readline())
            body = f.read()
        if path.startswith("/simple/"):
            body = body.replace(b'"url":"/files/', b'"url":"' + self.origin + b"/files/")
        if method != "HEAD":
            known["headers"]["Content-Length"] = str(len(body))
        answer = known["status"], known["headers"], body
        if len(answer[2]) < 1 << 22:
            self.small[name] = answer
        return answer

    def record(self, at, method, path, wanted):
        status, headers, body = self.ask(method, self.real(path), wanted)
        if path.startswith("/simple/") and status == 200:
            body = lead_back(self.real(path), headers, body)
        new = f"{at}-{threading.get_ident()}"  # others may record the same
        with open(new, "wb") as f:
            f.write(json.dumps({"url": self.real(path), "status": status, "headers": headers}).encode() + b"\n" + body)
        os.rename(new, at)

    def real(self, path):
        """The URL that a path here stands for."""
        if path.startswith("/simple/"):
            return self.upstream + path.removeprefix("/simple")
        scheme, _, rest = path.removeprefix("/files/").partition("/")
        return f"{scheme}://{rest}"

    def ask(self, method, url, wanted):
        request = urllib.request.Request(url, method=method, headers={"Accept": JSON if url.startswith(self.upstream + "/") else "*/*"})
        if wanted:
            request.add_header("Range", wanted)
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, context=self.tls, timeout=60) as r:
                    return r.status, {k: r.headers[k] for k in KEPT if r.headers[k]}, r.read()
            except urllib.error.HTTPError as e:
                if e.code < 500:
                    return e.code, {"Content-Type": "text/plain", "Content-Length": "0"}, b""
                failure = e
            except (OSError, http.client.HTTPException) as e:
                failure = e
            time.sleep(attempt)
        raise RuntimeError(f"{url}: {failure}")


def lead_back(url, headers, body):
    """A page whose files have URLs that lead back here, once the origin is before them."""
    if not headers.get("Content-Type", "").startswith(JSON):
        raise RuntimeError(f"{url}: the index does not answer in JSON, so that it says no times of upload")
    page = json.loads(body)
    for f in page["files"]:
        scheme, _, rest = urllib.parse.urljoin(url, f["url"]).partition("://")
        f["url"] = f"/files/{scheme}/{rest}"
    return json.dumps(page, separators=(",", ":")).encode()


class Connection(asyncio.Protocol):
    """One client, which sends a request when it has the answer to the last one."""

    def __init__(self, index):
        self.index, self.head = index, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.head += data
        if self.head.endswith(b"\r\n\r\n"):  # none has a body
            head, self.head = self.head.decode("latin-1"), b""
            task = self.index.loop.create_task(self.serve(head))
            task.add_done_callback(self.served)

    def served(self, task):
        if task.exception():
            print(f"index: {task.exception()!r}", file=sys.stderr, flush=True)
            self.transport.abort()

    async def serve(self, head):
        method, path, _ = head.split(" ", 2)
        wanted = re.search(r"^range: *(\S+)", head, re.I | re.M)
        start = self.index.loop.time()
        status, headers, body = await self.index.answer(method, path, wanted[1] if wanted else "")
        await asyncio.sleep(start + self.index.delay - self.index.loop.time())
        lines = [f"HTTP/1.1 {status} {http.client.responses[status]}", *(f"{k}: {v}" for k, v in headers.items())]
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + (b"" if method == "HEAD" else body))
