# `make demo` and `make test` need only Python >= 3.11, a C++20 compiler and make: the environments
# are made here and hold everything else.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test test-core test-cuda lint docs docs-check bench clean FORCE
# The installed package is what runs and is tested, never the source tree.
unexport PYTHONPATH

PYTHON ?= python3
VENV := .venv
BARE := .venv-notorch
RUN := $(VENV)/bin/python
PIP := -m pip --disable-pip-version-check
# Words added to the command that a target runs: make test ARGS="-k csr", make demo ARGS="--seed 1".
ARGS ?=
# The instruction sets that `make test` runs in, of those that the processor has.
TARGETS ?= baseline avx2 avx512
# And to the configuration of the core tests: make test-core CMAKE_OPTIONS=-DSPARSECORE_WIDE_TARGET=OFF
CMAKE_OPTIONS ?=

SOURCES := CMakeLists.txt pyproject.toml README.md LICENSE \
  $(shell find csrc python -type f ! -name '*.so' ! -name '*.pyc')
CONFIGURE = $(VENV)/bin/cmake -DPython_EXECUTABLE="$$PWD/$(RUN)" \
  -Dpybind11_DIR="$$($(RUN) -m pybind11 --cmakedir)"
FORMATTED = $(shell find csrc bench python tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh')

help:
	@echo "make demo        prune, convert and measure a network on this machine"
	echo "make test        the tests on every CPU target, with and without torch"
	echo "make test-core   the core's own tests, in C++ (doctest)"
	echo "make test-cuda   the CUDA kernels, on the processor"
	echo "make lint        ruff, mypy, clang-format, clang-tidy"
	echo "make docs        the documents as pages: build/docs/html/index.html"
	echo "make docs-check  doctests, code blocks and links of the documents"
	echo "make bench       C++ microbenchmarks (Google Benchmark)"
	echo "make clean       remove builds and environments"

demo: $(VENV)/installed
	@$(VENV)/bin/sparsecore demo $(ARGS)

# One run of the tests in each processor's instruction set, all of them in the one that is used by
# default, then one without torch. A set that the processor lacks is named as not run, at the end
# where it is read.
test: $(VENV)/installed $(BARE)/installed
	@unset SPARSECORE_TARGET
	passed=() lacking=()
	run_tests() {
	  printf '\n== tests: %s\n' "$$1"
	  # 5: ARGS name nothing that depends on the target.
	  "$$2" -m pytest -q $(ARGS) $$some || [[ $$? == 5 && -n $$some ]]
	  passed+=("$$1")
	}
	supported=" $$($(RUN) -c 'import sparsecore as sc; print(*sc.cpu.targets())') "
	default=$$($(RUN) -c 'import sparsecore as sc; print(sc.cpu.target())')
	for target in $(TARGETS); do
	  some=
	  [[ $$target == "$$default" ]] || some=--target-dependent
	  if [[ $$supported == *" $$target "* ]]; then
	    SPARSECORE_TARGET=$$target run_tests "$$target, with torch" $(RUN)
	  else
	    lacking+=("$$target not run: this processor does not support it")
	  fi
	done
	some=
	SPARSECORE_TARGET=$$default run_tests "$$default, without torch" $(BARE)/bin/python
	printf '\n== summary\n'
	printf 'passed: %s\n' "$${passed[@]}"
	(( $${#lacking[@]} == 0 )) || printf '%s\n' "$${lacking[@]}"

# On every CPU target, and with 64-byte vectors that the compiler splits for any processor.
test-core: $(VENV)/cmake
	@if ! $${CXX:-c++} -E -x c++ -include doctest/doctest.h /dev/null > /dev/null 2>&1; then
	  echo "make test-core needs doctest: install it (Debian, Ubuntu: doctest-dev)" >&2
	  exit 1
	fi
	$(VENV)/bin/cmake --preset core $(CMAKE_OPTIONS)
	$(VENV)/bin/cmake --build --preset core
	build/core/tests/core/sparsecore_tests $(ARGS)

# The CUDA kernels and all that leads to them, by the emulation of CUDA on the processor.
test-cuda: $(VENV)/installed
	@$(RUN) $(PIP) install --quiet --no-deps --upgrade --target build/emulated-site \
	  -C build-dir=build/emulated -C cmake.define.SPARSECORE_CUDA=EMULATED \
	  -C cmake.define.SPARSECORE_CPU_TARGETS= .
	PYTHONPATH=build/emulated-site $(RUN) -m pytest -q -m gpu $(ARGS)

# clang-tidy brings no omp.h: it reads the compiler's, after the headers of its own.
lint: $(VENV)/lint $(VENV)/cmake
	@$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/clang-format --dry-run -Werror $(FORMATTED)
	# A build that compiles every file but those of builds without CUDA; kernels twice, narrow and wide.
	$(CONFIGURE) -S . -B build/tidy -DSPARSECORE_CUDA=EMULATED \
	  -DSPARSECORE_CPU_TARGETS=avx512 > /dev/null
	find csrc -name '*.cpp' ! -name unavailable.cpp ! -name without_device.cpp -print0 | xargs -0 -n 1 -P "$$(nproc)" \
	  $(VENV)/bin/clang-tidy -p build/tidy --quiet \
	  --extra-arg=-idirafter"$$($${CXX:-c++} -print-file-name=include)"

# Where they lie, so that their links hold; every warning is an error, and nothing is fetched.
docs: $(VENV)/docs
	@$(RUN) -m sphinx -q -W --keep-going -c docs -d build/docs/doctrees . build/docs/html
	echo "the first page: build/docs/html/docs/index.html"

docs-check: $(VENV)/installed
	@$(RUN) -m pytest -q -c pyproject.toml --doctest-modules --pyargs sparsecore
	$(RUN) -m pytest -q tests/test_docs.py tests/test_claims.py

bench: $(VENV)/cmake
	@if ! $${CXX:-c++} -E -x c++ -include benchmark/benchmark.h /dev/null > /dev/null 2>&1; then
	  echo "make bench needs Google Benchmark: install it (Debian, Ubuntu: libbenchmark-dev)" >&2
	  exit 1
	fi
	$(CONFIGURE) --preset bench
	$(VENV)/bin/cmake --build --preset bench
	for program in $$(find build/bench -name 'bench_*' -type f -executable | sort); do
	  "$$program" $(ARGS)
	done

clean:
	@rm -rf build dist demo-output $(VENV) $(BARE) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find python tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Changes when a source file is added or removed, which no time stamp would show.
build/sources: FORCE
	@mkdir -p build
	printf '%s\n' $(sort $(SOURCES)) > $@.new
	if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# One compile serves both environments.
build/wheel/built: build/sources $(SOURCES) | $(VENV)/bin/pip
	@echo "building the extension (a few minutes; ten where there is a CUDA compiler, but for SPARSECORE_CUDA=OFF)"
	rm -rf build/wheel
	$(RUN) $(PIP) wheel --quiet --no-deps --wheel-dir build/wheel .
	touch $@

$(VENV)/installed: EXTRAS := demo,test,torch-tests
$(BARE)/installed: EXTRAS := test
%/installed: build/wheel/built | %/bin/pip
	@echo "installing sparsecore[$(EXTRAS)] in $*"
	wheel=$$(echo build/wheel/*.whl)
	$*/bin/python $(PIP) install --quiet --no-deps --force-reinstall "$$wheel"
	$*/bin/python $(PIP) install --quiet "$$wheel[$(EXTRAS)]"
	touch $@

$(VENV)/lint: pyproject.toml $(VENV)/installed
	@$(RUN) $(PIP) install --quiet "$$(echo build/wheel/*.whl)[lint]"
	touch $@

$(VENV)/docs: pyproject.toml $(VENV)/installed
	@$(RUN) $(PIP) install --quiet "$$(echo build/wheel/*.whl)[docs]"
	touch $@

$(VENV)/cmake: | $(VENV)/bin/pip
	@$(RUN) $(PIP) install --quiet cmake ninja pybind11
	touch $@

%/bin/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else
	  f"sparsecore needs Python 3.11 or newer; $(PYTHON) is {v[0]}.{v[1]}")'
	$(PYTHON) -m venv $*

.PRECIOUS: $(VENV)/bin/pip $(BARE)/bin/pip
