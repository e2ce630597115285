# `make demo` makes a video, `make check` is the quick test run, `make test` the whole one.
# Each sets up what it needs first and reuses it later: .venv, and a ComfyUI in .comfyui (or COMFYUI_DIR).
# Another torch: make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"
export PYTHON ?= python3
export TORCH ?= torch==2.13.0
export TORCH_EXTRAS ?= torchvision==0.28.0 torchaudio==2.11.0

.PHONY: demo check test lint setup browser clean

demo: setup
	.venv/bin/crafters demo

check: lint
	.venv/bin/python -m pytest -q -m "not comfy and not slow" -n auto --dist loadfile

# Two at a time of what runs a ComfyUI, which takes 1.5 GB each; it fails when either part does.
test: browser lint
	.venv/bin/python -m pytest -m "not comfy" -n auto --dist loadfile; without=$$?; \
	.venv/bin/python -m pytest -m comfy -n 2 --dist loadfile && exit $$without

lint: setup
	.venv/bin/ruff check .

setup:
	@scripts/setup.sh

browser:
	@scripts/setup.sh browser

clean:
	rm -rf .venv .comfyui test-artifacts
