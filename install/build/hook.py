# Calls one hook of a build backend (PEP 517). It is run by hook.go, as the leader
# of a session, with its standard input a pipe that ends when the caller does.
import importlib, json, os, signal, sys, threading

life = os.dup(0)  # children do not inherit it
null = os.open(os.devnull, os.O_RDONLY)
os.dup2(null, 0)
os.umask(0o022)
sys.stdout.reconfigure(line_buffering=True)  # in the order of what it says


def watch():
    os.read(life, 1)
    os.killpg(0, signal.SIGKILL)


threading.Thread(target=watch, daemon=True).start()
call = json.loads(sys.argv[1])
sys.argv[:] = [""]
sys.path[:0] = call["path"] or []
name, _, attributes = call["backend"].partition(":")
backend = importlib.import_module(name)
if call["path"]:
    at = os.path.realpath(getattr(backend, "__file__", None) or "/")
    if not any(at.startswith(os.path.realpath(p) + os.sep) for p in call["path"]):
        sys.exit(name + " is not in the backend-path")
for attribute in filter(None, attributes.split(".")):
    backend = getattr(backend, attribute)
if call["hook"] == "build_wheel":
    answer = os.path.basename(backend.build_wheel(call["out"]))
else:
    hook = getattr(backend, call["hook"], None)
    answer = list(map(str, hook())) if hook else []
with open(call["answer"], "w", encoding="utf-8") as f:
    json.dump(answer, f)
