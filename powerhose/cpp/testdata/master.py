"""A master on libzmq, for one worker: it says what it is given, and prints where it is and what it is told.

usage: master.py ENDPOINT WELCOME DRAIN BYE <JOBS
A job is a line, HEAD:BODY in hex; what is printed is alike. DRAIN is sent when all are answered.
With SECRET, PUBLIC and WORKER in the environment, which are keys, it speaks CURVE.
"""

import os
import sys

import zmq


def show(frames):
    print(":".join(f.hex() for f in frames), flush=True)


def keys(sock):
    if "SECRET" in os.environ:
        sock.curve_secretkey = os.environ["SECRET"].encode()
        sock.curve_publickey = os.environ["PUBLIC"].encode()
    return "SECRET" in os.environ


welcome, drain, bye = (bytes.fromhex(arg) for arg in sys.argv[2:])
jobs = sys.stdin.read().split()
context = zmq.Context()
context.setsockopt(zmq.RCVTIMEO, 20000)
context.setsockopt(zmq.LINGER, 1000)
registration = context.socket(zmq.ROUTER)
if keys(registration):
    registration.curve_server = True
registration.bind(sys.argv[1])
print(registration.getsockopt_string(zmq.LAST_ENDPOINT), flush=True)
identity, hello = registration.recv_multipart()
show([hello])
registration.send_multipart([identity, welcome])

at = 35 + 3 + hello[37]  # behind the name
socket = hello[at + 3 : at + 3 + hello[at + 2]]
work = context.socket(zmq.DEALER)
work.setsockopt(zmq.HEARTBEAT_IVL, 50)
if keys(work):
    work.curve_serverkey = os.environ["WORKER"].encode()
work.connect(socket.decode() if socket.startswith(b"tcp://") else "ipc://" + socket.decode())
work.send(welcome)
show(work.recv_multipart())
window = welcome[13]
for i, job in enumerate(jobs):
    if i >= window:
        show(work.recv_multipart())
    work.send_multipart([bytes.fromhex(frame) for frame in job.split(":")])
for _ in jobs[-window:]:
    show(work.recv_multipart())
work.send(drain)
for _ in range(2):  # DRAIN and BYE
    show(work.recv_multipart())
work.send(bye)
context.destroy()
