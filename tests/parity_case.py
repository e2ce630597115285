"""A reference case: a folder with `config.json`, `inputs.safetensors`, `expected.safetensors` and parameter shapes."""

import json
import os
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

OWN = Path(__file__).parent / "fixtures"


def find_cases():
    """Every case in `tests/fixtures` and in each folder named by `CRAFTERS_FIXTURES` (os.pathsep-separated)."""
    roots = [OWN] + [Path(p) for p in os.environ.get("CRAFTERS_FIXTURES", "").split(os.pathsep) if p]
    cases = {}
    for root in roots:
        if not root.is_dir():
            raise FileNotFoundError(f"CRAFTERS_FIXTURES names {root}, which is not a folder.")
        for config in sorted(root.glob("*/config.json")):
            cases.setdefault(config.parent.name, Case(config.parent))
    return list(cases.values())


def named_weight(name, shape, salt=""):
    """The float32 tensor that stands for the published parameter `name`; the reference numbers were made with it."""
    x = np.random.RandomState(zlib.crc32((salt + name).encode())).standard_normal(tuple(shape)).astype(np.float32)
    if x.ndim >= 2:
        x = x / np.sqrt(np.prod(x.shape[1:]))
    elif name.endswith("running_var"):
        x = 1 + 0.1 * np.abs(x)
    elif name.endswith(("scale", "weight", "gamma", "lambda1")):
        x = 1 + 0.1 * x
    else:
        x = 0.1 * x
    return torch.from_numpy(np.asarray(x, dtype=np.float32))


class Case:
    def __init__(self, folder):
        self.folder = Path(folder)
        self.name = self.folder.name
        self.config = json.loads((self.folder / "config.json").read_text())
        self.kind = self.config["kind"]

    def tensors(self, file):
        return load_file(self.folder / file)

    @cached_property
    def inputs(self):
        return self.tensors("inputs.safetensors")

    @cached_property
    def expected(self):
        return self.tensors("expected.safetensors")

    @cached_property
    def shapes(self):
        return json.loads((self.folder / "parameter_shapes.json").read_text())

    def weights(self, *prefixes, part=None):
        """The state dict of all parameters whose published name starts with one of `prefixes` (all of them if none).

        part: which network, where `parameter_shapes.json` lists several.
        """
        scale, offset = self.config.get("parameter_scale", {}), self.config.get("parameter_offset", {})
        return {
            name: named_weight(name, shape, self.config.get("salt", "")) * torch.tensor(scale.get(name, 1.0))
            + torch.tensor(offset.get(name, 0.0))  # a number, or one per output
            for name, shape in (self.shapes[part] if part else self.shapes).items()
            if not prefixes or name.startswith(prefixes)
        }

    def check(self, name, actual, rtol=2e-4, expected=None):
        """max |difference| <= rtol * max(1, max |expected|)."""
        expected = self.expected[name] if expected is None else expected
        assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        error = (actual.double().cpu() - expected.double()).abs().max().item()
        limit = rtol * max(1.0, expected.double().abs().max().item())
        assert error <= limit, f"{name}: off by {error:.3g}, allowed {limit:.3g}"
