"""A master on libzmq, for one worker: it says what it is given, and prints what it is told.

usage: master.py PATH WELCOME DRAIN BYE <JOBS
A job is a line, HEAD:BODY in hex; what is printed is alike. DRAIN is sent when all are answered.
"""

import sys

import zmq


def show(frames):
    print(":".join(f.hex() for f in frames), flush=True)


path = sys.argv[1]
welcome, drain, bye = (bytes.fromhex(arg) for arg in sys.argv[2:])
jobs = sys.stdin.read().split()
context = zmq.Context()
context.setsockopt(zmq.RCVTIMEO, 20000)
context.setsockopt(zmq.LINGER, 1000)
registration = context.socket(zmq.ROUTER)
registration.bind("ipc://" + path)
identity, hello = registration.recv_multipart()
show([hello])
registration.send_multipart([identity, welcome])

at = 35 + 3 + hello[37]  # behind the name
socket = hello[at + 3 : at + 3 + hello[at + 2]]
work = context.socket(zmq.DEALER)
work.setsockopt(zmq.HEARTBEAT_IVL, 50)
work.connect("ipc://" + socket.decode())
work.send(welcome)
show(work.recv_multipart())
for job in jobs:
    work.send_multipart([bytes.fromhex(frame) for frame in job.split(":")])
for _ in jobs:
    show(work.recv_multipart())
work.send(drain)
for _ in range(2):  # DRAIN and BYE
    show(work.recv_multipart())
work.send(bye)
context.destroy()
