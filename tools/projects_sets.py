"""The sets of real projects that `tools/projects` locks, installs and runs."""
import dataclasses

WSGI = '''"""Answers with the versions of what it imports."""
{imports}


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{text}".encode()]
'''


@dataclasses.dataclass
class Set:
    """An app of real projects, and what is expected of it."""
    name: str
    dependencies: str  # the lines of dependencies.txt
    app: str  # the entrypoint
    imports: str  # modules; "" where it is only locked
    path: str = "/"  # what is asked of the app
    answer: str = "ok"  # a part of what it answers; "" where it is not run
    files: dict = dataclasses.field(default_factory=dict)  # others of the app
    executable: bool = False  # bin/app instead of bin/app.py
    build: bool = False  # some of it has to be built
    conflict: tuple = ()  # what the explanation names, where there is no solution
    interop: bool = False  # other tools install its lock, and theirs is installed


def plain(imports, text="ok"):
    """A WSGI app of its own that uses modules."""
    return WSGI.format(imports="\n".join(f"import {m}" for m in imports.split()), text=text)


FLASK = '''from flask import Flask

application = Flask(__name__)


@application.get("/")
def index():
    return "ok\\n"
'''

DJANGO = '''import celery
import django
import psycopg
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

queue = celery.Celery("queue", broker="memory://")


@queue.task
def double(n):
    return 2 * n


def index(request):
    return HttpResponse(f"ok {double(21)} {psycopg.pq.__impl__}")


urlpatterns = [path("", index)]
settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="none")
application = get_wsgi_application()
'''

PYRAMID = '''from pyramid.config import Configurator
from pyramid.response import Response

config = Configurator()
config.add_route("index", "/")
config.add_view(lambda request: Response("ok"), route_name="index")
application = config.make_wsgi_app()
'''

CORNICE = '''import sys

from cornice import Service
from pyramid.config import Configurator

index = Service(name="index", path="/")


@index.get()
def get_index(request):
    return {"answer": "ok"}


config = Configurator()
config.include("cornice")
config.scan(sys.modules[__name__])
application = config.make_wsgi_app()
'''

FASTAPI = '''from fastapi import FastAPI

application = FastAPI()


@application.get("/")
async def index():
    return {"answer": "ok"}
'''

AIRFLOW = '''import os

os.environ.setdefault("AIRFLOW_HOME", os.environ["APPBUNDLE_STATE_DIR"])
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
os.environ.setdefault("AIRFLOW__API_AUTH__JWT_SECRET", os.urandom(32).hex())  # one process, and nobody stays logged in

from airflow.api_fastapi.main import app as application  # noqa: E402
'''
ASGI_INI = {"app.ini": "[app]\nversion = 1.0.0\ninterface = asgi\n"}

JUPYTER = '''#!/bin/sh
exec jupyter-lab --no-browser --allow-root --ip=127.0.0.1 --port="$PORT"
'''
JUPYTER_INI = {"app.ini": '''[app]
version = 1.0.0

[env]
PORT = $PORT
HOME = $HOME
JUPYTER_CONFIG_DIR = /nonexistent
'''}

RADICALE = '''import os

from radicale import config
from radicale.app import Application

configuration = config.load()
configuration.update({"storage": {"filesystem_folder": os.environ["APPBUNDLE_STATE_DIR"]}}, "app", privileged=True)
application = Application(configuration)
'''

PYPISERVER = '''import os

import pypiserver

application = pypiserver.app(roots=[os.environ["APPBUNDLE_STATE_DIR"]])
'''

SCIENCE = "numpy scipy.stats pandas sklearn.linear_model"

SETS = [
    Set("flask", "flask\ngunicorn", FLASK, "flask gunicorn", interop=True),
    Set("django", "django\npsycopg[binary]\ncelery\ngunicorn", DJANGO, "django psycopg celery", answer="ok 42 binary", interop=True),
    Set("pyramid", "pyramid\nwaitress", PYRAMID, "pyramid waitress"),
    Set("cornice", "cornice\nwaitress", CORNICE, "cornice pyramid"),
    Set("fastapi", "fastapi\nuvicorn", FASTAPI, "fastapi uvicorn pydantic", answer='{"answer":"ok"}', interop=True),
    Set("boto", "boto3\nbotocore\naiobotocore\ns3fs\ngunicorn", plain("boto3 botocore aiobotocore s3fs"),
        "boto3 botocore aiobotocore.session s3fs"),
    Set("jupyterlab", "jupyterlab", JUPYTER, "jupyterlab notebook_shim", path="/api", answer='"version"', files=JUPYTER_INI, executable=True),
    Set("scipy", "scipy\npandas\nscikit-learn\ngunicorn",
        plain(SCIENCE, "ok {scipy.stats.norm.cdf(0)} {pandas.Series([1, 2]).sum()} {sklearn.linear_model.__name__}"),
        SCIENCE, answer="ok 0.5 3 sklearn", interop=True),
    Set("airflow", "apache-airflow\nuvicorn", AIRFLOW, "airflow sqlalchemy", path="/api/v2/version", answer='"version"', files=ASGI_INI),
    Set("airflow-extras", "apache-airflow[celery,postgres]\nuvicorn", AIRFLOW, "airflow celery psycopg2", path="/api/v2/version",
        answer='"version"', files=ASGI_INI),
    Set("airflow-all", "apache-airflow[all]\nuvicorn", AIRFLOW, "", answer="", files=ASGI_INI, build=True),
    Set("radicale", "Radicale\ngunicorn", RADICALE, "radicale", answer="Radicale"),
    Set("pypiserver", "pypiserver\nwaitress", PYPISERVER, "pypiserver", path="/simple/", answer="Simple Index"),
    Set("sdist", "docopt\nhttp-ece\nwaitress", plain("docopt http_ece", "ok {docopt.__version__}"), "docopt http_ece", answer="ok 0.6", build=True),
    Set("conflict", "# A newer framework than its Django.\ndjangorestframework>=3.16\ndjango<4\ngunicorn", plain("django"), "django",
        conflict=("dependencies.txt:2: djangorestframework>=3.16", "dependencies.txt:3: django<4")),
]
