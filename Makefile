# The two commands of this project, both from nothing but Python >= 3.10 with venv, and make:
#   make demo   exports an INT8 bundle, verifies, evaluates and times it, and separates a piece of music with it
#   make test   checks style, types and behaviour
# Their environments are kept in .venv and .venv-tflite-runtime and follow pyproject.toml and constraints.txt.

PYTHON ?= python3

VENV := .venv
BIN := $(VENV)/bin
# tflite-runtime 2.14 has wheels for CPython 3.9 to 3.11 and needs numpy 1, hence an environment of its own.
OLD_VENV := .venv-tflite-runtime
OLD_PYTHON := $(OLD_VENV)/bin/python

BUNDLE := build/small-tflite-static_wi8_ai8.edge
# The default clip: a MUSDB18 excerpt inside the stempeg package.
FIND_SONG := import importlib.util as u, pathlib; \
	print(next(pathlib.Path(u.find_spec("stempeg").origin).parent.glob("data/*.stem.mp4")))

# Training runs in a process of its own: after all converters and runtimes in one, its threads crashed.
TRAINING := tests/test_training.py tests/test_training_music.py tests/test_training_qat.py tests/test_cli_train.py
# So do boards behind ssh and under emulation, and the ends of commands: their tests take terminals, fork and are
# interrupted, which such a process did not survive.
INTERRUPTED := $(wildcard tests/test_remote_*.py) tests/test_emulation.py tests/test_console.py

.PHONY: demo test
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@echo; echo "== 1 of 4: export to TFLite, quantize to INT8, hold each stem's SDR against PyTorch in float"
	$(BIN)/ddtasnet-export --target tflite --int8 --force
	@echo; echo "== 2 of 4: how well the INT8 bundle separates, between the mix itself and an ideal mask"
	$(BIN)/ddtasnet-eval $(BUNDLE)
	@echo; echo "== 3 of 4: time every hop on this machine"
	$(BIN)/ddtasnet-bench $(BUNDLE)
	@echo; echo "== 4 of 4: separate a real piece of music, hop by hop"
	@echo '$(BIN)/ddtasnet-run $(BUNDLE) "SONG" --out separated --force'
	@$(BIN)/ddtasnet-run $(BUNDLE) "$$($(BIN)/python -c '$(FIND_SONG)')" --out separated --force

test: $(VENV)/.installed $(OLD_VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	DDTASNET_TFLITE_RUNTIME_PYTHON="$$(ls $(OLD_PYTHON) 2>/dev/null)" $(BIN)/pytest \
		$(TRAINING:%=--ignore=%) $(INTERRUPTED:%=--ignore=%)
	$(BIN)/pytest $(TRAINING)
	$(BIN)/pytest $(INTERRUPTED)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps pyclarity
	touch $@

$(OLD_VENV)/.installed: pyproject.toml constraints.txt
	mkdir -p $(OLD_VENV)
	if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
		grep -v '^numpy==' constraints.txt > $(OLD_VENV)/constraints.txt && \
		$(PYTHON) -m venv $(OLD_VENV) && \
		$(OLD_PYTHON) -m pip install --quiet --upgrade pip && \
		$(OLD_PYTHON) -m pip install --quiet -c $(OLD_VENV)/constraints.txt -e . tflite-runtime==2.14.0 'numpy<2'; \
	else \
		echo "tflite-runtime 2.14 has no wheel for this Python: its tests are skipped"; \
	fi
	touch $@
