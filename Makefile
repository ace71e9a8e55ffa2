# Every target works on a fresh clone: it makes .venv and installs the project into it first.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(abspath $(VENV))/bin
BUILD  := $(abspath sample_project/build/latest)
DEMO   := $(abspath sample_project/demo)
SITE   := $(abspath site)
# -qq: pip warns about this machine's own configuration, which is not the reader's concern.
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check
# One test process per core, as more would only wait for compilers. For chosen TESTS, starting
# workers takes longer than it saves.
WORKERS ?= $(if $(TESTS),0,auto)

# Compiling all modules takes a quarter of a second, and the tests start thousands of commands.
unexport PYTHONDONTWRITEBYTECODE

# The machine and the directory of the tarball that `make standalone` makes.
ARCH   ?= $(shell uname -m)
DIST   ?= dist

# Seconds that `make fuzz` takes.
FUZZ ?= 600

.PHONY: sample test fuzz bench docs site standalone release check lint types names clean

sample: $(VENV)/installed $(VENV)/cmake
	@PATH="$(BIN):$$PATH" cmake -S sample_project -B $(BUILD) -DCMAKE_BUILD_TYPE=Release \
	    "-DBundleFix_DIR=$$($(BIN)/bundle-fix cmake-dir)" >$(VENV)/sample.log 2>&1 \
	  && PATH="$(BIN):$$PATH" cmake --build $(BUILD) --parallel 4 >>$(VENV)/sample.log 2>&1 \
	  || { tail -n 30 $(VENV)/sample.log; exit 1; }
	@sample_project/demo.sh $(BIN) $(BUILD) $(DEMO)

# BUNDLE_FIX=PROGRAM: only the tests that can run another bundle-fix, such as the standalone one.
test: $(VENV)/installed $(VENV)/installed-test $(VENV)/cmake
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup \
	  $(if $(BUNDLE_FIX),-m any_program) $(TESTS)

fuzz: $(VENV)/installed $(VENV)/installed-test
	cd tests && PATH="$(BIN):$$PATH" nice $(BIN)/python -m fuzz $(FUZZ)
	PATH="$(BIN):$$PATH" BUNDLE_FIX_EXAMPLES=5000 nice $(BIN)/python -m pytest tests/fuzz

bench: $(VENV)/installed $(VENV)/installed-test
	$(BIN)/python -m benchmarks $(BENCH)

docs: $(VENV)/installed
	$(BIN)/bundle-fix rules --format markdown >docs/rules.md
	$(BIN)/bundle-fix schema spec --format markdown >docs/spec.md
	$(BIN)/bundle-fix check --schema >docs/schemas/check-1.json
	$(BIN)/bundle-fix diff --schema >docs/schemas/diff-1.json
	$(BIN)/bundle-fix inspect --schema >docs/schemas/inspect-1.json
	$(BIN)/bundle-fix run --schema >docs/schemas/run-1.json
	$(BIN)/python -m manual

# Broken links are warnings, and warnings are errors (-W).
site: $(VENV)/installed-site
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs $(SITE)
	@echo $(SITE)/index.html

standalone: $(VENV)/installed-standalone
	@PATH="$(BIN):$$PATH" standalone/make-pack "$(ARCH)" "$(DIST)"

release: $(VENV)/installed-release
	$(BIN)/python -m release

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/installed-dev
	$(BIN)/mypy

names: $(VENV)/bin/python
	cd tests && $(BIN)/python -m style.names

check: lint types names

clean:
	rm -rf $(VENV) .cache site sample_project/build sample_project/demo sample_project/thirdparty/output

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("bundle-fix needs Python 3.10 or newer" if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)

# Editable: a changed source file needs no new installation.
$(VENV)/installed: $(VENV)/bin/python pyproject.toml
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(INSTALL) --editable '.[test]'
	@touch $@

$(VENV)/installed-site: $(VENV)/installed
	$(INSTALL) --editable '.[site]'
	@touch $@

$(VENV)/installed-standalone: $(VENV)/installed
	$(INSTALL) --editable '.[standalone]'
	@touch $@

$(VENV)/installed-release: $(VENV)/installed
	$(INSTALL) --editable '.[release]'
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

# CMake 3.20 or newer with a generator: the machine's own, or else wheels from PyPI.
$(VENV)/cmake: $(VENV)/bin/python
	@if cmake -E capabilities 2>/dev/null | grep -qE '"major":([4-9]|3,"minor":([2-9][0-9]))'; then :; \
	  else $(INSTALL) 'cmake>=3.20' ninja; fi
	@touch $@
