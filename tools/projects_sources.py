"""The sources of real projects that `tools/projects_check.py` makes applications of."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """A release, and what makes an application of it beside init."""
    name: str
    version: str
    sha256: str
    framework: str
    guess: str  # what init guesses, in words, for the table
    kind: str = "sdist"  # or "go", a module
    without: tuple = ()  # paths that are taken away before
    files: dict = field(default_factory=dict)  # what is written: {path: (mode, text)}
    init_too: bool = False  # init runs after that, and keeps what is written


def lines(*dependencies):
    return 0o644, "\n".join(dependencies) + "\n"


def served(text):
    """An entrypoint of a server interface, that finds the project beside bin."""
    return 0o644, f"import os\nimport sys\n\nsys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))\n\n{text}\n"


def program(module, function):
    """An executable entrypoint, that finds the project beside bin."""
    return 0o755, f"""#!.appbundle/env/bin/python
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from {module} import {function}  # noqa: E402

if __name__ == "__main__":
    sys.exit({function}())
"""


def ini(name, version, interface):
    return 0o644, f"[app]\nname = {name}\nversion = {version}\ninterface = {interface}\n"


PYTHON = lines("python3")
OSCAR = 0o644, """import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "src"))

from django.core.wsgi import get_wsgi_application  # noqa: E402

application = get_wsgi_application()  # of the settings that DJANGO_SETTINGS_MODULE names
"""
SQLADMIN = served("""from fastapi import FastAPI  # noqa: E402
from sqladmin import Admin  # noqa: E402
from sqlalchemy import create_engine  # noqa: E402

application = FastAPI()
Admin(application, create_engine(os.environ.get("DATABASE", "sqlite://")))""")
MOIN = 0o644, """import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "src"))

from moin.app import create_app  # noqa: E402

application = create_app(os.environ["WIKICONFIG"])
"""

SOURCES = [
    Source("Radicale", "3.5.0", "cdb4de6a10d7da9993727c3c3d9c2b30256d36915f4d6b2a655b8dd38f8de5eb", "WSGI, an executable", "its script, `radicale.__main__:run`"),
    Source("httpbin", "0.10.2", "632148698261c8684ea2d2b624cdea845b402b1fe91736e89df886408c6317a9", "Flask", "the Flask `app` of `httpbin/core.py`"),
    Source("whoogle-search", "0.9.1", "e22fe9d7cb6ee6ae324412901d10325dac5870f3916d4f4ac88cc5db25bd5429", "Flask", "the Flask `app` of `app/__init__.py`; `bin/wsgiapp.py`, as the project has a module `app`"),
    Source("moin", "2.0.0b1", "bb9a0cb93694197b55faa1c88f72d3ee7515d1bb78b1e7f5f01d0a4af31ed1e5", "Flask", "`contrib/pythonanywhere/wsgi.py`, an example for one host; written: `moin.app.create_app`",
           files={"bin/app.py": MOIN},
           init_too=True),
    Source("isso", "0.13.0", "032f2155c642c8c1c903a8f7cd6fd94b7bdf0f499fc7e19dee6024d38e076ea3", "Werkzeug", "`isso/run.py`; its requirements are in `setup.py`, which init does not run; written: those",
           files={"dependencies.txt": lines("itsdangerous", "Jinja2", "misaka>=2.0,<3.0", "html5lib", "werkzeug>=1.0", "bleach", "gunicorn")},
           init_too=True),
    Source("pypiserver", "2.3.2", "d2b16b12a667a9f356f1b022e039d5ad2c33a76986bb2fdb3f18633dbb1afca3", "Bottle", "the Bottle `app` of `pypiserver/_app.py`, which the project configures in `pypiserver.app`; written: that",
           files={"bin/app.py": served("from pypiserver import app  # noqa: E402\n\napplication = app(roots=[os.environ[\"PACKAGES\"]])"),
                  "dependencies.txt": lines("pip>=7", "packaging>=23.2", "gunicorn")},
           init_too=True),
    Source("kinto", "20.0.0", "bb71bc5426f9941de24e002c9301fae059f2d489c534952d3dcf38e24ccbee68", "Pyramid", "its script, `kinto.__main__:main`"),
    Source("devpi-server", "6.14.0", "b932e478a7dfee4829223b8c0f989ef631d955aaf8bf42ae4346e26da1745523", "Pyramid", "nothing: only `setup.py`; written: `devpi_server.main:main`",
           files={"bin/app": program("devpi_server.main", "main"), "external-dependencies.txt": PYTHON, "app.ini": ini("devpi-server", "6.14.0", "exec"),
                  "dependencies.txt": lines("py>=1.4.23", "httpx", "argon2-cffi", "attrs>=22.2.0", "defusedxml", "devpi_common>3.6.0,<5", "itsdangerous>=0.24",
                                            "platformdirs", "pyramid>=2", "waitress>=1.0.1", "repoze.lru>=0.6", "passlib[argon2]", "pluggy>=0.6.0,<2.0",
                                            "ruamel.yaml", "strictyaml", "lazy")}),
    Source("sqladmin", "0.20.1", "b6cc6df648a8a05f7baa57cd5fc236cf0729d0bb27b0a33ced150e956fa68437", "FastAPI", "nothing, it is a library; written: an application of FastAPI with it",
           files={"bin/app.py": SQLADMIN, "app.ini": ini("sqladmin", "0.20.1", "asgi"),
                  "dependencies.txt": lines("fastapi", "starlette", "sqlalchemy>=1.4", "wtforms>=3.1,<3.2", "jinja2", "python-multipart", "uvicorn")},
           init_too=True),
    Source("datasette", "0.65.1", "d8be37ae6dafbfd8e510d49c0dc0fc6696081614d048a507eed86dd2ae433223", "ASGI", "nothing: only `setup.py`; written: `Datasette().app()`",
           files={"bin/app.py": served("from datasette.app import Datasette  # noqa: E402\n\napplication = Datasette(memory=True).app()"),
                  "external-dependencies.txt": PYTHON, "app.ini": ini("datasette", "0.65.1", "asgi"),
                  "dependencies.txt": lines("asgiref>=3.2.10", "click>=7.1.1", "click-default-group>=1.2.3", "Jinja2>=2.10.3", "hupper>=1.9", "httpx>=0.20",
                                            "pluggy>=1.0", "uvicorn>=0.11", "aiofiles>=0.4", "janus>=0.6.2", "asgi-csrf>=0.9", "PyYAML>=5.3", "mergedeep>=1.1.1",
                                            "itsdangerous>=1.1", "setuptools", "pip", "platformdirs>=2.1.0", "typing_extensions>=4.0.0", "flexcache>=0.3",
                                            "flexparser>=0.3")}),
    Source("django-oscar", "3.2.5", "c9d679461d79c21889152641d7d1cdf7a7342a21ca7edc747c55f08afddade06", "Django", "nothing, it is a library; written: Django's entrypoint, for the settings of a shop",
           files={"bin/app.py": OSCAR, "external-dependencies.txt": PYTHON, "app.ini": ini("django-oscar", "3.2.5", "wsgi"),
                  "dependencies.txt": lines("django>=3.2,<4.3", "pillow>=6.0", "django-extra-views>=0.13,<0.15", "django-haystack>=3.0b1", "django-treebeard>=4.3.0",
                                            "Babel>=1.0,<3.0", "purl>=0.7", "phonenumbers", "django-phonenumber-field>=4.0.0,<7.0.0", "factory-boy>=3.0,<3.3",
                                            "django-tables2>=2.3,<2.4", "django-widget-tweaks>=1.4.1", "gunicorn")}),
    Source("flower", "2.0.1", "5ab717b979530770c16afb48b50d2a98d23c3e9fe39851dcf6bc4d01845a02a0", "Tornado, an executable", "nothing: only `setup.py`; written: `flower.__main__:main`",
           files={"bin/app": program("flower.__main__", "main"), "external-dependencies.txt": PYTHON, "app.ini": ini("flower", "2.0.1", "exec"),
                  "dependencies.txt": lines("celery>=5.0.5", "tornado>=5.0.0,<7.0.0", "prometheus_client>=0.8.0", "humanize", "pytz")}),
    Source("glances", "4.3.0", "19d9189a10ee3be57cb1a436c0fbd6afefa4b92396526f1f99347aab69c21948", "FastAPI, an executable", "its script, `glances:main`"),
    Source("github.com/caddyserver/caddy/v2", "2.8.4", "b37b51736c50ba58f322f946d1f0ac194d459b3717c161e3369e908b6a89bd3f", "Go, an executable", "`go build` of `cmd/caddy`; the keys of its tests are errors; written: the sources without the two keys",
           kind="go",
           without=("caddytest/a.caddy.localhost.key", "caddytest/caddy.localhost.key"),
           init_too=True),
]
