# Two commands: `make demo` and `make test`. Both set everything up and are quick when nothing changed.
.DEFAULT_GOAL := help
# What is measured must have the machine for itself.
.NOTPARALLEL:
.PHONY: help setup demo test check format bench bench-decode bench-masking bench-detection bench-windows bench-ingest bench-ledger bench-rollouts bench-accuracy bench-judge fuzz docs clean

PY := .venv/bin/python
CARGO := PATH="$$PATH:$$HOME/.cargo/bin" cargo

help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: ## make .venv with everything in it
	@scripts/setup

demo: setup ## roll a real system out twice: a bad version goes back, a good one is committed
	@.venv/bin/verdigris demo healthcare --folder build/demo
	@.venv/bin/verdigris demo good --folder build/demo

test: setup ## all tests
	@scripts/setup-browser
	@scripts/setup-servers
	@scripts/setup-js-client || true
	@scripts/setup-collector || true
	@scripts/setup-tlogcheck || true
	@$(CARGO) test --quiet --release --locked --manifest-path native/Cargo.toml
	@$(PY) -m pytest -q

check: setup ## lint, types, layers, docs that are made from code
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@$(CARGO) fmt --check --manifest-path native/Cargo.toml
	@$(CARGO) clippy --quiet --locked --all-targets --manifest-path native/Cargo.toml -- -D warnings

format: setup ## write the code the way `check` wants it
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .
	@$(CARGO) fmt --manifest-path native/Cargo.toml

bench: bench-decode bench-masking bench-detection bench-windows bench-ingest bench-judge bench-ledger ## all benchmarks but bench-rollouts (hours) and bench-accuracy (needs others' data)

bench-decode: setup ## speed of the decoder, side by side with peers
	@$(PY) benchmarks/decode.py

bench-masking: setup ## what masking costs the decoder, with and without in one run
	@$(PY) benchmarks/masking.py

bench-detection: setup ## recall, precision and speed of the detectors, beside their peers
	@scripts/setup-peers || true
	@$(PY) benchmarks/detection.py

bench-windows: setup ## speed of inserting and of making windows
	@$(PY) benchmarks/windows.py

bench-ingest: setup ## spans taken in per second, acknowledged durable, with the whole path on
	@$(PY) benchmarks/ingest.py

bench-ledger: setup ## appends, proofs and verification of the ledger, by its size
	@$(PY) benchmarks/ledger.py

bench-rollouts: setup ## live rollouts, again and again; takes hours, so bench does not run it: RUNS=20
	@$(PY) benchmarks/rollouts.py --runs $${RUNS:-20}

bench-accuracy: setup ## verdicts and causes on recorded faults (needs ../shared/data/traces)
	@$(PY) benchmarks/accuracy.py

bench-judge: setup ## the judge and its peers' rules on the same simulated streams
	@$(PY) benchmarks/judge_simulation.py
	@$(PY) benchmarks/live_judge.py

fuzz: setup ## mutate real bodies for minutes: FUZZ_SECONDS=300
	@$(CARGO) run --quiet --release --locked --manifest-path native/Cargo.toml --example fuzz -- --seconds $${FUZZ_SECONDS:-300}

docs: setup ## write the parts of docs/ that are made from code
	@scripts/docs

clean: ## remove all that was made
	rm -rf .venv .tools build native/target .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache src/verdigris/*.so
