"""A reference case: a folder with `config.json`, `inputs.safetensors`, `expected.safetensors` and parameter shapes."""

import json
import os
import zlib
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

OWN = Path(__file__).parents[1] / "fixtures"
# What half precision may cost: this part of a whole tensor's norm. One rounding to bf16's 8 bits costs up to 0.004 of a
# number, and a network is a chain of them.
HALF = 0.05


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
    """`device`, `dtype`: where and in what networks compute; whoever runs the case may set them."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, folder):
        self.folder = Path(folder)
        self.name = self.folder.name
        self.config = json.loads((self.folder / "config.json").read_text())
        self.kind = self.config["kind"]

    def tensors(self, file):
        return load_file(self.folder / file)

    @property
    def half(self):
        """Whether networks compute in half precision."""
        return self.dtype != torch.float32

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

    def on_device(self, tensors, dtype=None):
        """A dict of tensors on `device`; dtype: what those of floating point are converted to, None leaves them."""
        return {
            name: tensor.to(self.device, dtype if tensor.is_floating_point() else None)
            for name, tensor in tensors.items()
        }

    def check(self, name, actual, rtol=2e-4, expected=None, half=HALF):
        """`compare` with the limit rtol * max(1, max |expected|)."""
        expected = self.expected[name] if expected is None else expected
        self.compare(name, actual, expected, rtol * max(1.0, expected.double().abs().max().item()), half=half)

    def expect(self, name, actual, expected=None, half=HALF):
        """`compare` with the tolerance that the case gives for `name`."""
        expected = self.expected[name] if expected is None else expected
        allowed = self.config["tolerance"][name]
        outside = allowed.get("max_fraction_different", allowed.get("max_fraction_outside", 0))
        self.compare(name, actual, expected, allowed.get("atol", allowed.get("max_abs", 0)), outside, half)

    def compare(self, name, actual, expected, limit, outside=0.0, half=HALF):
        """All but the part `outside` of the numbers of `actual`, on any device, are within `limit` of `expected`.

        In half precision ‖actual − expected‖ <= half · ‖expected‖ instead, but what must be equal still must.
        """
        assert actual.shape == expected.shape, f"{name}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
        actual, expected = actual.double().cpu(), expected.double()
        assert actual.isfinite().all(), f"{name}: not finite"
        error = (actual - expected).abs()
        if self.half and (limit or outside):
            error, norm = error.norm().item(), expected.norm().item()
            assert error <= half * norm, f"{name}: off by {error:.3g} of {norm:.3g}, allowed {half:.0%}"
        else:
            beyond = (error > limit).double().mean().item()
            assert beyond <= outside, f"{name}: off by {error.max():.3g}, allowed {limit:.3g}, at {beyond:.2%}"
