# Starts the server argv[1] on the script argv[2] with the arguments after it.
# The script need not be called .py, and nothing is written beside it.
import importlib.machinery, importlib.util, os, runpy, signal, socket, sys

server, path = sys.argv[1], os.path.abspath(sys.argv[2])
if server == 'gunicorn':  # before a module of the app can stand in for one that it needs
    from gunicorn.app.wsgiapp import WSGIApplication
module = os.path.basename(path).partition('.')[0]
sys.path[:1] = [os.path.dirname(path), os.getcwd()]


class Script(importlib.machinery.SourceFileLoader):
    def get_code(self, name):
        return self.source_to_code(self.get_data(self.path), self.path)


class Finder:
    @staticmethod
    def find_spec(name, parents=None, target=None):
        if name == module:
            return importlib.util.spec_from_loader(name, Script(name, path))


def notifier():
    # A connection: the worker of a gunicorn with a user of its own could make none.
    address = os.environ.get('NOTIFY_SOCKET')
    if not address:
        return lambda state: None
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.connect('\0' + address[1:] if address[0] == '@' else address)
    except OSError as e:
        print('NOTIFY_SOCKET %s: %s' % (address, e), file=sys.stderr, flush=True)
        return lambda state: None
    return sock.send


def gunicorn():
    # The arbiter says READY=1 when it has forked a worker, whatever becomes of it:
    # it does not get to see where. A worker says it when it has loaded the
    # application and beats for the first time, which is when it begins to serve.
    notify, address = notifier(), os.environ.pop('NOTIFY_SOCKET', None)

    class Application(WSGIApplication):
        def load_config(self):
            super().load_config()
            forked, loaded = self.cfg.post_fork, self.cfg.post_worker_init

            def post_fork(arbiter, worker):
                if address is not None:
                    os.environ['NOTIFY_SOCKET'] = address
                forked(arbiter, worker)

            def post_worker_init(worker):
                loaded(worker)
                beat = worker.tmp.notify

                def first():
                    worker.tmp.notify = beat
                    beat()
                    notify(b'READY=1')

                worker.tmp.notify = first

            self.cfg.set('post_fork', post_fork)
            self.cfg.set('post_worker_init', post_worker_init)

    # The socket is the supervisor's: gunicorn would remove its path when it ends.
    from gunicorn import sock
    close = sock.close_sockets
    sock.close_sockets = lambda listeners, unlink=True: close(listeners, False)
    sys.argv[:3] = ['gunicorn']
    Application('%(prog)s [OPTIONS] [APP_MODULE]', prog='gunicorn').run()


sys.meta_path.insert(0, Finder)
if server == 'gunicorn':
    gunicorn()
elif server == 'waitress':
    import waitress
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = importlib.import_module(module).application
    notifier()(b'READY=1')
    waitress.serve(app, sockets=[socket.socket(fileno=int(sys.argv[3]))])
else:
    sys.argv[1:3] = []
    runpy.run_module(server, run_name='__main__', alter_sys=True)
