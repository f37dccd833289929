# Everything runs in a virtual environment of its own, made on first use from the pins in constraints.txt.
# The pinned torch may arrive as a CUDA build, which is large; where CPU wheels are at hand, point pip at them
# (PIP_FIND_LINKS or PIP_INDEX_URL) before the first `make`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: demo test lint types accept score gpu clean

demo: $(VENV)/.installed  ## install with the pins and make one clip
	$(BIN)/vgen generate "a red ball rolls to the right across the floor" --sheet

test: $(VENV)/.installed-dev  ## install with the pins and run the tests
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy vgen tests demos

accept: $(VENV)/.installed-dev  ## make accept AREA=name: measure against the bars in vgen/bench/bars.yaml
	$(BIN)/python -m vgen.bench.accept $(AREA)

score: $(VENV)/.installed-dev  ## score the embedded model anew, after a change to its weights or to the detector
	$(BIN)/python -m vgen.bench.results

gpu: $(VENV)/.installed-dev  ## what needs a CUDA device, in parts of ten minutes: tests, benches; leaves result files to commit
	$(BIN)/python -m vgen.bench.gpu $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "vgen needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing vgen into $(VENV); the first time takes a few minutes"
	$(PIP) install -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $@
