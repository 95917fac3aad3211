# Every task of the project, from nothing but Python >= 3.11 and make. `make` alone lists them.
#
# The committed report is drawn from one store by `make peers`, `make article`, `logpx run large_k --fresh --store
# results/article.sqlite` and `make race`, in this order. Each of the last three goes on where it stopped, cell by cell,
# and wants the machine to itself. (--fresh the first time alone: what the article's stream left would be taken over, and
# has no time of its own.)
#
# Every target that needs the tools depends on STAMP: the virtual environment, made and filled once, refilled
# when pyproject.toml or its Python changes, or when the folder was moved (the stamp's name holds the path).

VENV ?= .venv
# What is installed with logpx: the tools, or in the environment of `make peers` the libraries that it is timed against.
EXTRAS ?= dev
PEERS_VENV := .venv-peers
RESULTS := results
STORE := $(RESULTS)/quick.sqlite
REPORT := $(RESULTS)/report
BIN := $(VENV)/bin/python
LOGPX := $(VENV)/bin/logpx
STAMP := $(VENV)/.installed-$(shell printf '%s' "$(CURDIR)" | cksum | cut -d' ' -f1)
# The first Python on the path that is new enough; PYTHON=... on the command line decides instead.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help report article peers race train test bench lint format types contract install clean distclean

help:  ## list the targets
	@echo "logpx: make TARGET  (PYTHON=python3.12 chooses the Python, VENV=folder the environment)"
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'

$(BIN):
	@test -n "$(PYTHON)" || { echo "logpx needs Python 3.11 or later, and none was found on the path." \
	  "Install one (https://www.python.org/downloads/) or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "logpx needs Python 3.11" \
	  "or later; '$(PYTHON)' is `"$(PYTHON)" --version 2>&1`. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null || { echo "'$(PYTHON)' comes without venv or pip. On Debian and" \
	  "Ubuntu: sudo apt install python3-venv. Or name another Python: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; }
	@echo "Making $(VENV) with $(PYTHON) ..."
	@"$(PYTHON)" -m venv "$(VENV)" || { echo "'$(PYTHON) -m venv $(VENV)' failed, see above. Remove $(VENV)" \
	  "('make distclean') and try again, or name another Python: make PYTHON=... " >&2; exit 1; }

$(STAMP): pyproject.toml $(BIN)
	@"$(BIN)" -m pip --version >/dev/null 2>&1 || "$(BIN)" -m ensurepip --upgrade >/dev/null 2>&1 || { \
	  echo "$(VENV) is broken (it has no pip). Run 'make distclean' and try again." >&2; exit 1; }
	@echo "Installing logpx and its tools into $(VENV) (some minutes the first time) ..."
	@"$(BIN)" -m pip install --quiet --disable-pip-version-check -e '.[$(EXTRAS)]' || { echo "pip could not install logpx," \
	  "see above. Is the network up and the disk not full? The same command again goes on where this one" \
	  "stopped." >&2; exit 1; }
	@rm -f "$(VENV)"/.installed-* && touch "$(STAMP)"

install: $(STAMP)  ## make the virtual environment and install logpx with its tools

report: $(STAMP)  ## run the quick suite and draw the report, in results/report
	@mkdir -p $(RESULTS)
	@"$(LOGPX)" run quick --store $(STORE)
	@"$(LOGPX)" report --store $(STORE) --out $(REPORT)
	@test -s $(REPORT)/index.html || { echo "The report was not written: $(REPORT)/index.html is missing." >&2; exit 1; }

article: $(STAMP)  ## run the article suite and draw the committed report anew, in reports
	@mkdir -p $(RESULTS)
	@"$(LOGPX)" run article --store $(RESULTS)/article.sqlite
	@"$(LOGPX)" report --store $(RESULTS)/article.sqlite --out reports

peers: $(STAMP)  ## make .venv-peers with the libraries that logpx is timed against; then: make race, or logpx run peers
	@"$(MAKE)" --no-print-directory install VENV=$(PEERS_VENV) EXTRAS=peers PYTHON="$(abspath $(BIN))"
	@echo "The peers are in $(PEERS_VENV). Race them: $(LOGPX) run peers"

race: $(STAMP)  ## run the race beside other libraries into the article's store and draw the committed report anew
	@mkdir -p $(RESULTS)
	@"$(LOGPX)" run peers --store $(RESULTS)/article.sqlite
	@"$(LOGPX)" report --store $(RESULTS)/article.sqlite --out reports

train: peers  ## train the networks that come with logpx anew, with PyTorch; loss curves in results/training
	@"$(PEERS_VENV)/bin/python" bench/examples/train_digits.py

test: $(STAMP)  ## run the tests and one untimed pass of every benchmark case
	@"$(BIN)" -m pytest -n auto --maxprocesses 4 --dist loadfile

bench: $(STAMP)  ## time every benchmark case, error beside time, rows into results/results.sqlite
	@"$(BIN)" -m pytest --benchmark-only

lint: $(STAMP)  ## check style and format
	@"$(BIN)" -m ruff check .
	@"$(BIN)" -m ruff format --check .

format: $(STAMP)  ## put the source into format, and mend what ruff can
	@"$(BIN)" -m ruff format .
	@"$(BIN)" -m ruff check --fix .

types: $(STAMP)  ## check the types
	@"$(BIN)" -m mypy

contract: $(STAMP)  ## check that no layer imports one above it
	@"$(BIN)" -m pytest -q tests/test_contract.py

clean:  ## remove what runs leave behind: results, build output, tool caches
	@rm -rf $(RESULTS) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find kernels bench tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## clean, and remove the virtual environments
	@for folder in "$(VENV)" $(PEERS_VENV); do if test -e "$$folder/pyvenv.cfg"; then rm -rf "$$folder"; fi; done
