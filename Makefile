# Two commands do everything: "make run" and "make test". "make help" lists all.

GO      ?= go
PYTHON  ?= python3
VERSION ?= 0.1.0-dev
EXAMPLE := examples/token-app
RUN     :=
WHEELS  := examples/cpu-app/wheels

# The version is all that the build stamps: no path, no commit, no time.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):[^#]*## /\1\t/p' Makefile | expand -t 10

.PHONY: build
build: ## bin/appbundle, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/appbundle ./cmd/appbundle

.PHONY: run
run: build ## build, check and run the token server as a demo; another example with EXAMPLE=examples/wsgi-app, flags of run in RUN
	bin/appbundle check $(EXAMPLE)
ifeq ($(EXAMPLE),examples/token-app)
	@mkdir -p out
	bin/appbundle build -o out/run/ $(EXAMPLE)
	@exec bin/appbundle run --config $(EXAMPLE)/demo.ini $(RUN) $(EXAMPLE)
else
	@tools/setup run
	bin/appbundle lock $(EXAMPLE)
	bin/appbundle install $(EXAMPLE)
	@exec bin/appbundle run $(RUN) $(EXAMPLE)
endif

.PHONY: wheel
wheel: ## the wheel of powerhose/python, for examples/cpu-app
	@tools/setup wheel
	@rm -rf $(WHEELS)
	@SOURCE_DATE_EPOCH=315532800 out/wheel/bin/python -m flit_core.wheel --outdir $(WHEELS) powerhose/python

.PHONY: check
check: ## gofmt, vet, staticcheck, the package table
	@tools/check

.PHONY: test
test: ## all tests, with the race detector; installs the tools they need, or names them
	@tools/setup test
	@tools/test

.PHONY: fuzz
fuzz: ## every decoder, FUZZTIME each (15s)
	@tools/fuzz $(or $(FUZZTIME),15s)

.PHONY: bench
bench: build ## the figures, beside those of tar and zstd, pip and uv, nfpm, rpmbuild and dpkg-deb, libzmq, circus, supervisor and runit; BENCH="--quick --format json"
	@tools/setup bench
	@$(PYTHON) tools/bench bin/appbundle $(BENCH)

.PHONY: package
package: build ## the RPM and the Debian package of appbundle itself, in dist/
	@mkdir -p out/package dist
	@for shell in bash zsh fish; do bin/appbundle completion $$shell >out/package/$$shell || exit 1; done
	@$(GO) run ./tools/package $(subst -dev,-dev.0,$(VERSION)) bin/appbundle docs/man out/package dist

.PHONY: projects
projects: build ## real projects from the index: locked, compared with uv, installed, run; PROJECTS="--interop --format markdown"
	@tools/setup projects
	@out/projects/bin/python tools/projects bin/appbundle $(PROJECTS)

.PHONY: projects-check
projects-check: build ## sources of real projects: laid out as applications, every difference shown, checked; PROJECTS="--only httpbin"
	@tools/setup projects
	@out/projects/bin/python tools/projects_check.py bin/appbundle $(PROJECTS)

.PHONY: mutants
mutants: ## plant the bugs of tools/mutants.txt in a copy of the tree; a test must fail for each
	@tools/setup test
	@$(PYTHON) tools/mutants

.PHONY: golden
golden: ## write expected outputs and generated tables anew; review the diff
	@tools/golden

.PHONY: ci
ci: check test ## check, test, and a short fuzz
	@tools/fuzz 2s

.PHONY: clean
clean: ## remove what the targets above made
	rm -rf bin out dist examples/*/.venv examples/token-app/bin $(WHEELS)
