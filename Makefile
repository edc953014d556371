# Needs only make and Python 3.11 or later; everything else is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PEERS := .venv-peers
SEEDS ?= 1,4,7
TIMES ?= 3
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test lint format bench speed clean constraints

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED)  ## Install forecast and its tools into .venv

demo: $(INSTALLED)  ## Fetch samples, train, predict: CSV and plots in demo/
	@PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/demo.sh

# Three processes on two cores: tests also wait, for processes and clocks.
test: lint  ## Lint, check types and layers, run the tests (of the slow ones a fixed quarter)
	$(BIN)/pytest -n 3 --dist loadgroup

lint: $(INSTALLED)  ## Check style, types and the layers of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)  ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(BENCH)/.installed $(PEERS)/.installed  ## Run a public benchmark and its peers: NAME=etth1 DATA=folder
	@test -n "$(NAME)" -a -d "$(DATA)" || { echo "Name the benchmark and the folder of its data:" \
		"make bench NAME=etth1 DATA=folder (see benchmarks/RESULTS.md)." >&2; exit 2; }
	$(BENCH)/bin/python benchmarks/accuracy.py $(NAME) --data $(DATA) --seeds $(SEEDS) \
		--peers $(PEERS)/bin/python --json benchmarks/results.json

speed: $(BENCH)/.installed $(PEERS)/.installed  ## Time and memory beside peers: ROWS="training memory" DATA=folder
	$(BENCH)/bin/python benchmarks/speed.py $(ROWS) --times $(TIMES) --peers $(PEERS)/bin/python \
		$(if $(DATA),--data $(DATA))

clean:  ## Remove what was built and cached; data/, models/ and demo/ stay
	rm -rf $(VENV) $(BENCH) $(PEERS) .constraints-venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find forecaster tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

constraints:  ## Install the newest versions afresh and write them to constraints.txt
	$(call require_python)
	rm -rf .constraints-venv
	$(PYTHON) -m venv .constraints-venv
	.constraints-venv/bin/python -m pip install --quiet -e '.[dev]'
	{ echo "# The versions that the tests ran with; written by \`make constraints\`."; \
		.constraints-venv/bin/python -m pip freeze --exclude-editable; } > constraints.txt
	rm -rf .constraints-venv

$(INSTALLED): pyproject.toml constraints.txt
	$(call require_python)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

$(BENCH)/.installed: pyproject.toml constraints.txt benchmarks/requirements.txt
	$(call require_python)
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e . -r benchmarks/requirements.txt
	@touch $@

$(PEERS)/.installed: benchmarks/requirements-peers.txt
	$(call require_python)
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -r benchmarks/requirements-peers.txt
	@touch $@

define require_python
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "Python 3.11 or later is needed, but '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." \
		"Name another: make PYTHON=python3.12" >&2; exit 1; }
endef
