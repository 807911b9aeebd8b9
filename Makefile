# make demo    install, then convert, evaluate and time a small model on generated images
# make test    install, then lint, check types and run the tests; `make test TESTS=` runs the slow ones too
# make crosscheck    install, then compare with cityscapesScripts in a virtual environment of their own
# make bench   install, then measure this machine: the forward pass beside its peers, growth, post-processing
# make venv    install only: a virtual environment in .venv, with the versions of constraints.txt
#
# PYTHON=... makes the environment (3.11 or later), VENV=... names its folder.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CROSSCHECK := $(VENV)-crosscheck
INSTALLED := $(VENV)/installed
OUT := demo/out
TESTS ?= -m 'not slow'

.PHONY: venv demo test bench crosscheck clean

venv: $(INSTALLED)

$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"make: {sys.executable} is Python {sys.version.split()[0]}, but 3.11 or later is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e '.[test]'
	touch $@

demo: $(INSTALLED)
	@printf '\n== 1. Convert a small ICNet from Caffe, trained on generated scenes: nothing here tells of photographs.\n\n'
	$(BIN)/icnet-convert demo/icnet_demo.caffemodel --output $(OUT)/icnet_demo.safetensors
	@printf '\n== 2. Draw the 40 street scenes, with labels, that its figures were measured on; laid out like Cityscapes.\n\n'
	$(BIN)/python -m training.scenes --root $(OUT)/data --count 40 --split val --city demo --seed 2018 --size 257 513
	@printf '\n== 3. Predict and score them as the original evaluation does; fail unless the figures are the known ones.\n\n'
	$(BIN)/icnet-eval --list samplelist/demo.txt --data-root $(OUT)/data \
	    --weights $(OUT)/icnet_demo.safetensors --input-size 257 513 --save-root $(OUT)/results \
	    --expect --tolerance 0.05
	@printf '\n== 4. Time the forward pass.\n\n'
	$(BIN)/test_time --weights $(OUT)/icnet_demo.safetensors --iterations 5 --warmup 2 --log $(OUT)/time.log
	@printf '\n== Done. What was made:\n'
	@printf '   %-31s %s\n' '$(OUT)/data/leftImg8bit' 'the scenes' '$(OUT)/data/gtFine' 'their labels' \
	    '$(OUT)/results/gray' 'predicted label maps, trainIds' '$(OUT)/results/color' 'the same in colours' \
	    '$(OUT)/results/report.html' 'the figures, and images side by side' \
	    '$(OUT)/icnet_demo.safetensors' 'the converted weights'

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist worksteal $(TESTS)

bench: $(INSTALLED)
	$(BIN)/python -m pip install -c constraints.txt -e '.[test,openvino]'
	$(BIN)/python -m benchmarks.forward --precision fp32 bf16
	$(BIN)/python -m benchmarks.scaling
	$(BIN)/python -m benchmarks.postprocessing

# cityscapesScripts' NumPy 1.26 needs Python 3.11 or 3.12.
crosscheck: $(INSTALLED) $(CROSSCHECK)/installed
	CROSSCHECK_PYTHON=$(abspath $(CROSSCHECK))/bin/python $(BIN)/pytest tests/crosscheck/crosscheck.py

$(CROSSCHECK)/installed: tests/crosscheck/requirements.txt
	$(PYTHON) -m venv $(CROSSCHECK)
	$(CROSSCHECK)/bin/python -m pip install -r $<
	touch $@

clean:
	rm -rf $(VENV) $(CROSSCHECK) $(OUT) build dist *.egg-info
