# VENV is the environment to use: made here if it is missing, filled with what it lacks, nothing in it replaced.
# PYTHON makes a new one; TOOLKITS=onedl fills it with the forks of the toolkits.
VENV ?= .venv
TOOLKITS ?= toolkits
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3.10 python3; do $$p --version >/dev/null 2>&1 && echo $$p && break; done)
PY := $(VENV)/bin/python

.PHONY: help install demo reproduce test test-gpu test-upstream test-matrix benchmark-gpu lint docs

help:
	@echo 'make demo     train a small teacher, student and distilled student; report in work_dirs/demo/report.html'
	@echo 'make test     lint, then run the tests; ARGS="-k nms" goes to pytest'
	@echo 'make test-gpu run the tests that need a GPU'
	@echo 'make test-upstream  distil about 190 configs of the toolkits for a step each, an hour; writes docs/upstream.md'
	@echo 'make benchmark-gpu  time pairs of the paper on a GPU, in float32 and bfloat16; results in work_dirs/benchmark'
	@echo 'make reproduce ROW=cifar100-c  train teacher, student and distilled student of a row of the results, three seeds;'
	@echo '                            again: go on where it stopped. Rows: configs/reproduce; written down in docs/results.md'
	@echo '                            SCALE=small trains a similar row that is small enough for a CPU'
	@echo 'make lint     check style, format and types only'
	@echo 'make docs     build the pages of docs/ into site/; open site/index.html'
	@echo 'make install  make the environment only'
	@echo 'make test-matrix  run the core tests in new environments: of each Python found, and with the forks'
	@echo
	@echo 'VENV=/path/to/env      use that environment; what it lacks is added, what it has is kept (default: .venv)'
	@echo 'PYTHON=/path/to/python make a new environment with that Python, 3.10 to 3.14'
	@echo 'TOOLKITS=onedl         fill a new environment with the onedl-* forks of the toolkits'

install: $(PY)
	@$(PY) requirements/install.py $(TOOLKITS)

$(PY):
	@test -n "$(PYTHON)" || { echo 'No Python found. Install Python 3.11, or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' || \
		{ echo "A new environment needs Python 3.10 to 3.14; $(PYTHON) is `$(PYTHON) --version 2>&1`. Name another: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: apt install $(notdir $(PYTHON))-venv"; exit 1; }
	@echo 'Making the environment $(VENV)'
	@$(PYTHON) -m venv $(VENV)

demo: install
	$(PY) tools/demo.py $(ARGS)

ROWS := $(patsubst configs/reproduce/%.yml,%,$(wildcard configs/reproduce/*.yml))
# What SCALE=small trains in place of a row of the paper: the row for a CPU with the same task and the most similar student.
SMALL := cifar100-a:cifar10-wrn16-1 cifar100-b:cifar10-wrn16-1 cifar100-c:cifar10-wrn10-1 \
	ssd300-vgg16-mobilenet-v1:voc-animals-ssd-mobilenet-v1 ssd300-r50-mobilenet-v1:voc-animals-ssd-mobilenet-v1 \
	deeplabv3plus-r18:voc-animals-deeplabv3plus-r18 deeplabv3plus-mobilenet-v2:voc-animals-deeplabv3plus-lite0
ifneq ($(filter-out small,$(SCALE)),)
$(error SCALE=$(SCALE): there is only SCALE=small; without it the row itself is trained)
endif
SCALES := $(if $(filter small,$(SCALE)),$(SMALL),$(foreach row,$(ROWS),$(row):$(row)))
TRAINED = $(patsubst $(ROW):%,%,$(filter $(ROW):%,$(SCALES)))
reproduce: install
	@test -n "$(TRAINED)" || { echo 'make reproduce ROW=...: name one of $(foreach one,$(SCALES),$(firstword $(subst :, ,$(one))))'; exit 2; }
	$(PY) tools/compare.py configs/reproduce/$(TRAINED).yml --work-dir work_dirs/reproduce/$(TRAINED) $(ARGS)
	@$(PY) docs/_reproduced.py $(TRAINED) work_dirs/reproduce/$(TRAINED)

# The pages are built from sources that are read and not imported: this needs no torch.
docs: export NO_MKDOCS_2_WARNING := 1
docs: $(PY)
	@$(PY) requirements/install.py docs
	$(PY) -m mkdocs build

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# A file of tests a process, one thread each: on few cores more of them only wait for one another.
test: export OMP_NUM_THREADS ?= 1
test: lint
	CUDA_VISIBLE_DEVICES= $(PY) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

# What needs a GPU, and the kernels on it; all other tests are of a CPU, and test leaves the GPU alone.
test-gpu: install
	$(PY) -m pytest -m cuda $(ARGS)
	$(PY) -m pytest tests/test_fused/test_kernels.py $(ARGS)

test-upstream: export OMP_NUM_THREADS ?= 1
test-upstream: install
	PYTHONPATH=tests $(PY) -m upstream $(ARGS)

# The paper's pairs on a GPU: in float32; in bfloat16 with channels last; so with the teacher in bfloat16, compiled.
BENCHMARKS ?= ssd300/ofd_ssd300_vgg16-mobilenet-v1_voc0712 ssd300/ofd_ssd300_r50-r18_voc0712 \
	deeplabv3plus/ofd_deeplabv3plus_r101-mobilenet-v2_voc12aug-513 cifar100/ofd_wrn28-4_wrn16-2_cifar100
HALF := --amp --channels-last --cfg-options optim_wrapper.dtype=bfloat16
benchmark-gpu: install
	for config in $(BENCHMARKS); do \
		out=work_dirs/benchmark/$$(basename $$config)/$$(date +%Y%m%d_%H%M%S); \
		$(PY) tools/benchmark.py configs/$$config.py --work-dir $$out/float32 $(ARGS) && \
		$(PY) tools/benchmark.py configs/$$config.py --work-dir $$out/bfloat16 $(ARGS) $(HALF) && \
		$(PY) tools/benchmark.py configs/$$config.py --work-dir $$out/teacher $(ARGS) $(HALF) \
			model.teacher.dtype=bfloat16 model.teacher.compile=True || exit 1; \
	done

test-matrix: export OMP_NUM_THREADS ?= 1
test-matrix:
	@$(PYTHON) requirements/matrix.py $(ARGS)
