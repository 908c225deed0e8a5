"""Settings of gunicorn: its worker says who it is and where it listens."""


def post_worker_init(worker):
    host, port = worker.sockets[0].getsockname()
    print(worker.pid, f"{host}:{port}", flush=True)
