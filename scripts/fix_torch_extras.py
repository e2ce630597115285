"""Make torchvision and torchaudio import beside a torch built for the CPU, in the environment that runs this.

The package index serves the two built for CUDA only. On a CPU torch their compiled parts do not load: torchvision then
fails at import, declaring rules for operators that do not exist; torchaudio fails on loading its libraries, though it
works without them. ComfyUI imports both. Where they import, as on any matching set, nothing is changed.
"""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

DECLARE_OPERATORS = """
# Added by crafters' setup: this torch cannot load the operators, but rules for them are registered at import.
if not _has_ops():
    _declared = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _declared.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def imports(module: str) -> bool:
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0


def folder(module: str) -> Path:
    return Path(find_spec(module).origin).parent


def main() -> int:
    if find_spec("torchvision") and not imports("torchvision"):
        extension = folder("torchvision") / "extension.py"
        source = extension.read_text()
        if DECLARE_OPERATORS not in source:
            extension.write_text(source + DECLARE_OPERATORS)
    if find_spec("torchaudio") and not imports("torchaudio"):
        for library in (folder("torchaudio") / "lib").glob("*.so"):
            library.unlink()
    broken = [name for name in ("torchvision", "torchaudio") if not imports(name)]
    if broken:
        which = " and ".join(broken)
        print(f"{which} cannot be imported: name versions made for this torch in TORCH_EXTRAS.", file=sys.stderr)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
