# Powerhose 0.7 on Python 2.7, with what it needs to work on a libzmq from 4 on:
# there a ROUTER and a REP refuse each other, so that its worker has a DEALER, and
# keeps the envelope by itself. See tools/bench_powerhose.py.
#
#     bench_powerhose_old.py broker|worker DIR
#     bench_powerhose_old.py threads DIR CALLERS SIZE SECONDS
import json
import os
import resource
import sys
import threading
import time

import zmq
from zmq.eventloop import zmqstream

from powerhose.broker import Broker
from powerhose.client import Pool
from powerhose.worker import Worker


def endpoints(where):
    return dict((name, "ipc://%s/%s" % (where, name)) for name in ("frontend", "backend", "heartbeat", "register"))


class Enveloped(object):
    def __init__(self, stream):
        self.stream, self.envelope = stream, []

    def send(self, answer):
        self.stream.send_multipart(self.envelope + [answer])

    def flush(self):
        self.stream.flush()


class DealerWorker(Worker):
    def __init__(self, target, backend, **more):
        Worker.__init__(self, target, backend="inproc://nobody", **more)
        dealer = self.ctx.socket(zmq.DEALER)
        dealer.identity = str(os.getpid())
        dealer.connect(backend)
        stream = zmqstream.ZMQStream(dealer, self.loop)
        stream.on_recv(self.with_envelope)
        self._backstream = Enveloped(stream)

    def with_envelope(self, parts):
        self._backstream.envelope = parts[:-1]
        self._handle_recv_back(parts[-1:])


def threads(where, callers, size, seconds):
    pool = Pool(size=callers, frontend=endpoints(where)["frontend"])
    job, each, end = "x" * size, [], [0]

    def call():
        now = time.time()
        while now < end[0]:
            if pool.execute(job) != job:
                os._exit(1)
            before, now = now, time.time()
            each.append(now - before)

    def processor():
        u = resource.getrusage(resource.RUSAGE_SELF)
        return u.ru_utime + u.ru_stime

    pool.execute(job)
    cpu, start = processor(), time.time()
    end[0] = start + seconds
    all_ = [threading.Thread(target=call) for _ in range(callers)]
    for t in all_:
        t.start()
    for t in all_:
        t.join()
    took = time.time() - start
    each.sort()
    print(json.dumps({"rate": len(each) / took, "p50": each[len(each) // 2], "p99": each[len(each) * 99 // 100], "jobs": len(each),
                      "cpu": processor() - cpu}))
    sys.stdout.flush()
    os._exit(0)  # its sockets wait for nothing


def main():
    role, where = sys.argv[1:3]
    at = endpoints(where)
    if role == "broker":
        Broker(**at).start()
    elif role == "worker":
        del at["frontend"]
        DealerWorker(lambda job: job.data, **at).start()
    else:
        callers, size, seconds = sys.argv[3:]
        threads(where, int(callers), int(size), float(seconds))


if __name__ == "__main__":
    main()
