# Two commands for a newcomer: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
# Compiled once at the install: where Python may not write its caches, each workflow run would compile its module anew.
ROOTS := boton activities workflows workers api

.PHONY: run test check chaos bench dialogues lock clean

run: .venv/run.stamp
	@exec $(BIN)/boton up

test: .venv/dev.stamp
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

check: .venv/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The figures of docs/benchmarks.md, on a quiet machine: some 30 minutes. ARGS: names of benches.
bench: .venv/dev.stamp
	@$(BIN)/python -m bench $(ARGS)

# Scripted customers against the model of the settings, scored (docs/dialogues.md): ARGS="--only opt-out --show".
dialogues: .venv/dev.stamp
	@$(BIN)/python -m bench.dialogues $(ARGS)

# Thousands of messages while everything is killed, frozen and cut off: ARGS="--seed 7 --messages 10000 --kills 100".
# With --chats, customers whom the bot answers: ARGS="--chats --messages 1000 --kills 60".
chaos: .venv/dev.stamp
	$(BIN)/python -m tests.chaos $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "BOTON needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; echo "No virtual environment could be made: apt-get install python3-venv"; exit 2; }

.venv/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	$(BIN)/pip install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q $(ROOTS)
	@touch $@

.venv/dev.stamp: requirements/dev.txt .venv/run.stamp
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	@touch $@

# Writes the locked requirements anew from pyproject.toml; hashes, no download addresses.
lock: .venv/dev.stamp
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header pyproject.toml requirements/build.in -o requirements/run.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --extra dev -c requirements/run.txt pyproject.toml requirements/build.in -o requirements/dev.txt

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
