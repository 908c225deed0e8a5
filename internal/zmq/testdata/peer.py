"""A peer that uses libzmq, for the tests: the same program as peer.cpp.

usage: peer.py MODE TYPE bind|connect ENDPOINT [KEY=VALUE]...
"""

import os
import sys

import zmq

mode, kind, how, endpoint = sys.argv[1:5]
options = dict(arg.split("=", 1) for arg in sys.argv[5:])

context = zmq.Context()
sock = context.socket(getattr(zmq, kind))
sock.linger = 5000
if "identity" in options:
    sock.identity = options["identity"].encode()
if "heartbeat" in options:
    sock.heartbeat_ivl = int(options["heartbeat"])
    sock.heartbeat_timeout = 3 * int(options["heartbeat"])
if "secret" in options:
    sock.curve_secretkey = options["secret"].encode()
    sock.curve_publickey = options["public"].encode()
    if "server" in options:
        sock.curve_serverkey = options["server"].encode()
    else:
        sock.curve_server = True
if mode == "subscribe":
    sock.setsockopt(zmq.SUBSCRIBE, b"a")
monitor = sock.get_monitor_socket(zmq.EVENT_DISCONNECTED) if mode == "ask" else None
getattr(sock, how)(endpoint)
print(sock.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)


def body(i):
    size = (0, 1, 100, 255, 256, 70_000)[i % 6]
    return bytes((i + j) % 251 for j in range(size))


def want(ok, what):
    if not ok:
        sys.exit(f"peer.py: {what}")


def receive():
    want(sock.poll(30_000), "nothing comes")
    return sock.recv_multipart()


if mode == "echo":
    while True:
        sock.send_multipart(sock.recv_multipart())
elif mode == "ask":
    window = 1 if kind == "REQ" else 8
    sent = 0
    for got in range(60):
        while sent < min(60, got + window):
            sock.send_multipart([b"%d" % sent, body(sent)])
            sent += 1
        want(receive() == [b"%d" % got, body(got)], "an echo is not what was sent")
    if "heartbeat" in options:
        want(not monitor.poll(4 * int(options["heartbeat"])), "the connection ended")
    sock.send_multipart([b"ok"])
elif mode == "publish":
    i = 0
    parent = os.getppid()
    while os.getppid() == parent:  # else the test was killed
        for topic in (b"a", b"b"):
            sock.send_multipart([topic, b"%d" % i, body(i)])
        i += 1
        sock.poll(1, zmq.POLLERR)
elif mode == "subscribe":
    for i in range(60):
        want(receive() == [b"a%d" % i, body(i)], "a message is not what was published")
print("ok", flush=True)
if monitor:
    sock.disable_monitor()
    monitor.close()
sock.close()
context.term()
