"""Every reference case, by its kind: `parity_kinds/KIND.py` has `check(case)`.

`--device` and `--dtype` choose what its networks compute on and in. A kind whose code computes on the CPU whatever they
say tells why in `CPU_ONLY`, one that half precision makes no sense for in `FP32_ONLY`.
"""

import json
from importlib import import_module
from pathlib import Path

import pytest
import torch
from crafters.models.checkpoint import DTYPES
from helpers.parity_case import Case, find_cases

KINDS = {p.stem for p in (Path(__file__).parent.parent / "parity_kinds").glob("*.py")}


@pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)
def test_parity(case, pytestconfig):
    if case.kind not in KINDS:
        pytest.skip(f"no implementation of {case.kind} yet")
    kind = import_module(f"parity_kinds.{case.kind}")
    case.device, case.dtype = torch.device(pytestconfig.getoption("device")), DTYPES[pytestconfig.getoption("dtype")]
    if case.half and hasattr(kind, "FP32_ONLY"):
        pytest.skip(kind.FP32_ONLY)
    if (case.half or case.device.type != "cpu") and hasattr(kind, "CPU_ONLY"):
        pytest.skip(kind.CPU_ONLY)
    if case.device.type == "cuda":  # whose convolutions otherwise take TF32 for float32, which has 11 bits
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    kind.check(case)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("change", "count"), [(0.1, 500), (float("nan"), 1)])
def test_a_wrong_number_is_noticed(tmp_path, dtype, change, count):
    (tmp_path / "config.json").write_text(json.dumps({"kind": "none"}))
    case, expected = Case(tmp_path), torch.ones(1000)
    case.dtype = dtype
    case.compare("right", expected.to(dtype), expected, 1e-3, outside=0.01)
    wrong = expected.clone()
    wrong[:count] += change
    with pytest.raises(AssertionError, match="wrong"):
        case.compare("wrong", wrong.to(dtype), expected, 1e-3, outside=0.01)
