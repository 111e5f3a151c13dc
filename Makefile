# Two commands do all the set-up: `make demo` and `make test`. They need Python >= 3.10 and make, and nothing else:
# both make their own virtual environment in build/venv and work on the wheel that is built and installed into it.

PYTHON ?= python3
VENV ?= build/venv
DEMO_SECONDS ?= 60
DATA ?=
FUZZ_EXAMPLES ?= 1000
FUZZ_SECONDS ?= 120
FUZZ_SEED ?= 0
FUZZ_PROCESSES ?= 1
ARGS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := $(shell find tokstore tools -name '*.py' -o -name 'py.typed')
TRAINERS := build/peers/trainers
TRAINERS_PIP := $(TRAINERS)/bin/python -m pip --disable-pip-version-check --quiet
FORMATS := build/peers/formats
MOSAIC := build/peers/mosaic
OBJECTS := build/peers/objects
AZURITE := azurite@3.35.0
FUZZ := $(CURDIR)/build/fuzz/venv
BENCH := build/bench/main
BENCH_MOSAIC := build/bench/mosaic
BENCH_PEERS := litdata zstd webdataset datasets pylance vortex-data array-record pyarrow faiss-cpu
INSTALL := python -m pip --disable-pip-version-check --quiet install
TYPED := tokstore tools spec $(wildcard benchmarks examples)

# Readers in other languages need packages that pip does not have; each target names those of Debian that are missing.
READERS := readers-c $(if $(wildcard spec/readers/js/package.json),readers-js)

.PHONY: help demo test peers readers readers-packages readers-c readers-js format lint types pytest verify vectors bench bench-quick bench-own bench-page bench-throttled fuzz fuzz-files fuzz-c clean
.DELETE_ON_ERROR:

help:
	@echo "make demo     set up, then pack real text, show its size and train a small model from the store"
	@echo "make test     set up, then format, lint, types, the tests on the installed wheel, the vectors"
	@echo "make peers    other packages, in environments of their own: trainers with the loader, libraries of foreign formats,"
	@echo "              object servers"
	@echo "make readers  build the readers of spec/readers and run them on all vectors (needs compilers; it says which)"
	@echo "make pytest   only the tests; ARGS='tests/test_cli.py -k pack' for some of them"
	@echo "make bench    tokstore beside its peers, in environments of their own; DATA=folder names texts and tokenizers"
	@echo "make bench-quick  a miniature of it, with what the tests have; make bench-own the tables of tokstore alone"
	@echo "make bench-throttled  a shuffled epoch from an object server with little bandwidth, added to the same records"
	@echo "make bench-page  docs/benchmarks.md, its plots and the README's table from the records of build/bench/results.json"
	@echo "make fuzz     damaged and forged files for FUZZ_SECONDS=$(FUZZ_SECONDS), half of it with atheris, then the hostile tests with"
	@echo "              FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) examples each; FUZZ_SEED and FUZZ_PROCESSES are 0 and 1"
	@echo "make fuzz-files  damaged and forged files alone"
	@echo "make fuzz-c   the C reader under libFuzzer, or a random change of vectors where there is no clang"
	@echo "make vectors  write the test vectors of spec/ anew"
	@echo "make format   let ruff format and fix what it can"
	@echo "make clean    remove build/ and caches"

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "tokstore needs Python 3.10 or newer; say which: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.depends: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install --constraint constraints.txt hatchling
	$(PIP) install --constraint constraints.txt --no-build-isolation ".[torch,tokenize,dev]"
	@touch $@

$(VENV)/.wheel: $(VENV)/.depends $(SOURCES) README.md LICENSE
	@rm -rf build/dist
	$(PIP) wheel --no-deps --no-build-isolation --wheel-dir build/dist .
	$(PIP) install --no-deps --force-reinstall build/dist/*.whl
	@touch $@

demo: $(VENV)/.wheel
	@rm -rf build/demo
	$(BIN)/tokstore demo --seconds $(DEMO_SECONDS) --out build/demo

test: lint types pytest verify

lint: $(VENV)/.depends
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(VENV)/.wheel
	$(BIN)/mypy $(TYPED)

# The `pytest` script, unlike `python -m pytest`, does not put this folder on the path: `import tokstore` finds the wheel.
pytest: $(VENV)/.wheel
	TOKSTORE_TEST_WHEEL=1 $(BIN)/pytest -q $(or $(ARGS),-n auto --dist worksteal --ignore=tests/peers --ignore=tests/test_examples.py)

$(TRAINERS)/.depends: $(VENV)/.made constraints.txt
	$(BIN)/python -m venv $(TRAINERS)
	$(TRAINERS_PIP) install --constraint constraints.txt torch torchdata accelerate lightning transformers pytest hypothesis
	@touch $@

$(TRAINERS)/.wheel: $(TRAINERS)/.depends $(VENV)/.wheel
	$(TRAINERS_PIP) install --constraint constraints.txt build/dist/*.whl
	$(TRAINERS_PIP) install --no-deps --force-reinstall build/dist/*.whl
	@touch $@

# The libraries of foreign formats; mosaicml-streaming asks for older versions of much that the others use.
$(FORMATS)/.depends: $(VENV)/.made constraints.txt
	$(BIN)/python -m venv $(FORMATS)
	$(FORMATS)/bin/$(INSTALL) --constraint constraints.txt torch datasets duckdb litdata lmdb matplotlib pandas polars pyarrow \
		tokenizers transformers webdataset zstd pytest hypothesis
	@touch $@

$(MOSAIC)/.depends: $(VENV)/.made constraints.txt
	$(BIN)/python -m venv $(MOSAIC)
	$(MOSAIC)/bin/$(INSTALL) $(shell grep '^torch==' constraints.txt) mosaicml-streaming pyarrow pytest hypothesis
	@touch $@

# Object servers of others: moto speaks S3; Azurite speaks Azure's protocol, and comes where there is npm.
$(OBJECTS)/.depends: $(VENV)/.made constraints.txt
	$(BIN)/python -m venv $(OBJECTS)
	$(OBJECTS)/bin/$(INSTALL) --constraint constraints.txt 'moto[s3]' flask flask-cors obstore pytest hypothesis
	@npm --version >/dev/null 2>&1 && npm install --prefix $(OBJECTS) --no-audit --no-fund --silent $(AZURITE) || \
		echo "Azurite cannot be installed here (it needs nodejs and npm): az:// is not tested"
	@touch $@

$(FORMATS)/.wheel $(MOSAIC)/.wheel $(OBJECTS)/.wheel: %/.wheel: %/.depends $(VENV)/.wheel
	$*/bin/$(INSTALL) build/dist/*.whl
	$*/bin/$(INSTALL) --no-deps --force-reinstall build/dist/*.whl
	@touch $@

peers: $(TRAINERS)/.wheel $(FORMATS)/.wheel $(MOSAIC)/.wheel $(OBJECTS)/.wheel
	TOKSTORE_TEST_WHEEL=1 $(TRAINERS)/bin/pytest -q tests/peers/test_*.py tests/test_examples.py
	TOKSTORE_TEST_WHEEL=1 $(FORMATS)/bin/pytest -q tests/peers/formats
	TOKSTORE_TEST_WHEEL=1 $(MOSAIC)/bin/pytest -q tests/peers/mosaic
	TOKSTORE_TEST_WHEEL=1 TOKSTORE_AZURITE=$(CURDIR)/$(OBJECTS)/node_modules/.bin/azurite-blob $(OBJECTS)/bin/pytest -q tests/peers/objects

readers: $(READERS)

readers-packages:
	$(MAKE) -C spec/readers/c packages PYTHON=$(PYTHON)
	@node --version >/dev/null && npm --version >/dev/null

# Of a C compiler, libzstd and their Debian packages it says what is missing.
readers-c: $(VENV)/.wheel
	$(MAKE) -C spec/readers/c check PYTHON=$(abspath $(BIN)/python) BUILD=$(CURDIR)/build/readers/c
	$(BIN)/python spec/readers/c/compare.py build/readers/c/tokread-sanitized plain default

verify: $(VENV)/.wheel
	$(BIN)/python spec/vectors/make_order.py --verify
	$(BIN)/python spec/vectors/make_vectors.py --verify
	$(BIN)/python spec/vectors/make_example.py --verify

vectors: $(VENV)/.wheel
	$(BIN)/python spec/vectors/make_order.py
	$(BIN)/python spec/vectors/make_vectors.py
	$(BIN)/python spec/vectors/make_example.py

# mosaicml-streaming asks for older versions of what the other constraints name, so only its own and torch's count there.
# A peer that cannot be installed here is named, and then is an error among the results, but keeps no other from its turn.
$(BENCH)/.depends: $(VENV)/.made benchmarks/constraints.txt
	$(BIN)/python -m venv $(BENCH)
	$(BENCH)/bin/$(INSTALL) --constraint benchmarks/constraints.txt torch numpy zstandard tokenizers matplotlib obstore
	$(BENCH)/bin/$(INSTALL) --constraint benchmarks/constraints.txt $(BENCH_PEERS) || for one in $(BENCH_PEERS); do \
		$(BENCH)/bin/$(INSTALL) --constraint benchmarks/constraints.txt $$one || echo "cannot install $$one here" >&2; done
	@touch $@

$(BENCH_MOSAIC)/.depends: $(VENV)/.made benchmarks/constraints.txt
	$(BIN)/python -m venv $(BENCH_MOSAIC)
	$(BENCH_MOSAIC)/bin/$(INSTALL) $(shell grep '^torch==' benchmarks/constraints.txt)
	$(BENCH_MOSAIC)/bin/$(INSTALL) $(shell grep -E '^(torch|mosaicml-streaming)==' benchmarks/constraints.txt) || \
		echo "cannot install mosaicml-streaming here" >&2
	@touch $@

$(BENCH)/.wheel: $(BENCH)/.depends $(VENV)/.wheel
	$(BENCH)/bin/$(INSTALL) --constraint benchmarks/constraints.txt build/dist/*.whl
	$(BENCH)/bin/$(INSTALL) --no-deps --force-reinstall build/dist/*.whl
	@touch $@

bench: $(BENCH)/.wheel $(BENCH_MOSAIC)/.depends
	$(BENCH)/bin/python -m benchmarks.side_by_side $(if $(DATA),--data $(DATA)) --mosaic $(BENCH_MOSAIC)/bin/python $(ARGS)

bench-quick: $(VENV)/.wheel
	$(BIN)/python -m benchmarks.side_by_side --quick --strict --out build/bench/quick.json

bench-own: $(VENV)/.wheel
	$(PIP) install 'faiss-cpu>=1.8'
	$(BIN)/python -m benchmarks.tokens $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.limits $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.columns $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.loader $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.shuffling $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.dedup $(if $(DATA),--data $(DATA))
	$(BIN)/python -m benchmarks.formats $(if $(DATA),--data $(DATA))

# A shuffled epoch from a slow object server; its records go where `make bench` has put the others.
bench-throttled: $(VENV)/.wheel
	$(BIN)/python -m benchmarks.side_by_side.throttled $(if $(DATA),--data $(DATA)) $(ARGS)

bench-page: $(VENV)/.depends
	$(PIP) install --constraint constraints.txt 'matplotlib>=3.8'
	$(BIN)/python -m benchmarks.side_by_side.page --readme $(ARGS)

fuzz: fuzz-files
	TOKSTORE_TEST_WHEEL=1 TOKSTORE_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/pytest -q -m hostile

# atheris has an environment of its own, and not every machine has a build of it: without it the random mutator runs
# all the time, and says so.
$(FUZZ)/.depends: $(VENV)/.made constraints.txt
	$(BIN)/python -m venv $(FUZZ)
	@$(FUZZ)/bin/$(INSTALL) --constraint constraints.txt atheris || echo "atheris cannot be installed on this machine; decoders meet the random mutator alone"
	@touch $@

$(FUZZ)/.wheel: $(FUZZ)/.depends $(VENV)/.wheel
	$(FUZZ)/bin/$(INSTALL) --constraint constraints.txt build/dist/*.whl
	$(FUZZ)/bin/$(INSTALL) --no-deps --force-reinstall build/dist/*.whl
	@touch $@

# In the folder of the tests `import tokstore` finds the installed wheel.
fuzz-files: $(FUZZ)/.wheel
	cd tests && $(FUZZ)/bin/python -m fuzz --seconds $$(($(FUZZ_SECONDS) / 2)) --seed $(FUZZ_SEED) --processes $(FUZZ_PROCESSES)
	cd tests && $(FUZZ)/bin/python -m fuzz --guided --seconds $$(($(FUZZ_SECONDS) / 2)) --seed $(FUZZ_SEED)

fuzz-c:
	$(MAKE) -C spec/readers/c fuzz PYTHON=$(PYTHON) BUILD=$(CURDIR)/build/readers/c
# The reader in JavaScript: its one dependency, stores that the package writes for it, and its tests.
READER_JS := spec/readers/js
READER_JS_STORES := $(CURDIR)/build/readers/js/stores

.PHONY: readers-js
readers-js: $(VENV)/.wheel
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' && npm --version >/dev/null || \
		{ echo "the JavaScript reader needs the packages nodejs (20 or newer) and npm" >&2; exit 1; }
	cd $(READER_JS) && npm ci --no-audit --no-fund --silent
	$(BIN)/python $(READER_JS)/test/make_stores.py $(READER_JS_STORES)
	cd $(READER_JS) && TOKREAD_STORES=$(READER_JS_STORES) npm test --silent

format: $(VENV)/.depends
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
