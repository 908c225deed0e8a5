# Starts the server argv[1] on the script argv[2] with the arguments after it.
# The script need not be called .py, and nothing is written beside it.
import importlib.machinery, importlib.util, os, runpy, signal, socket, sys

server, path = sys.argv[1], os.path.abspath(sys.argv[2])
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


sys.meta_path.insert(0, Finder)
if server == 'waitress':
    import waitress
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    app = importlib.import_module(module).application
    waitress.serve(app, sockets=[socket.socket(fileno=int(sys.argv[3]))])
else:
    sys.argv[1:3] = []
    runpy.run_module(server, run_name='__main__', alter_sys=True)
