#!/usr/bin/env bash
# Sets up .venv (torch, the pack, its test tools), a ComfyUI to test and demonstrate in, and the pack's place in it.
# `setup.sh browser` also sees to a Chromium and a newer page of ComfyUI's for the browser tests. Finished steps are reused; a half-done one is redone.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
say() { echo "crafters setup: $*" >&2; }

# step NAME KEY COMMAND...: runs the command unless it finished before with the same key.
step() {
    local stamp=.venv/.step-$1 key=$2
    shift 2
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && return
    rm -f "$stamp"
    "$@"
    echo "$key" >"$stamp"
}

make_venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        { say "$PYTHON is older than Python 3.10; name a newer one: make PYTHON=python3.11"; exit 1; }
    "$PYTHON" -m venv .venv
}

install() {  # torch alone and first: what follows must not choose another build of it
    say "installing $TORCH and the pack into .venv"
    $python -m pip install --quiet --disable-pip-version-check $TORCH
    $python -m pip install --quiet --disable-pip-version-check -e '.[test]'
}

install_comfyui() {
    say "installing what ComfyUI in $1 needs"
    $python -m pip install --quiet --disable-pip-version-check --no-deps $TORCH_EXTRAS
    $python -m pip install --quiet --disable-pip-version-check -r "$1/requirements.txt"
    $python scripts/fix_torch_extras.py
}

place_pack() {
    local place=.comfyui/base/custom_nodes/crafters
    mkdir -p "$(dirname $place)"
    [ -e $place ] && [ "$place" -ef . ] && return
    rm -rf $place
    ln -s ../../.. $place 2>/dev/null && [ "$place" -ef . ] && return
    rm -rf $place && mkdir $place  # no symlinks here: a copy of what git knows
    git ls-files -z | tar c --null -T - | tar x -C $place
}

get_frontend() {  # beside the one that ComfyUI pins
    say "fetching $FRONTEND"
    rm -rf "$1.part"
    $python -m pip install --quiet --disable-pip-version-check --no-deps --target "$1.part" "$FRONTEND" &&
        mv "$1.part" "$1"
}

have_chromium() {
    [ -n "${CHROMIUM:-}" ] || command -v chromium chromium-browser google-chrome >/dev/null
}

: "${PYTHON:=python3}" "${TORCH:=torch==2.13.0}" "${TORCH_EXTRAS:=torchvision==0.28.0 torchaudio==2.11.0}"
: "${FRONTEND:=comfyui-frontend-package==1.58.1}"  # the newest when last looked
[ -x $python ] && $python -m pip --version >/dev/null 2>&1 || make_venv
step install "$TORCH $(cat requirements.txt pyproject.toml | cksum)" install
if comfyui=$($python scripts/get_comfyui.py); then
    step comfyui "$TORCH $TORCH_EXTRAS $comfyui $(cksum <"$comfyui/requirements.txt")" install_comfyui "$comfyui"
    place_pack
else
    [ $? = 2 ] && exit 1
    say "going on without a ComfyUI: tests that need one are skipped, the demo runs without it."
fi
frontend=.comfyui/frontend-${FRONTEND##*==}
if [ "${1:-}" = browser ] && [ -n "$comfyui" ] && [ ! -d "$frontend" ]; then
    get_frontend "$frontend" || say "it could not be fetched: tests with it are skipped."
fi
if [ "${1:-}" = browser ] && ! have_chromium; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing chromium for the browser tests"
        { apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium; } >/dev/null 2>&1 ||
            say "chromium could not be installed: browser tests are skipped."
    else
        say "no chromium found (install it, or set CHROMIUM to one): browser tests are skipped."
    fi
fi
