"""Every reference case, by its kind: `parity_kinds/KIND.py` has `check(case)`."""

from importlib import import_module
from pathlib import Path

import pytest
from parity_case import find_cases

KINDS = {p.stem for p in (Path(__file__).parent.parent / "parity_kinds").glob("*.py")}


@pytest.mark.parametrize("case", find_cases(), ids=lambda case: case.name)
def test_parity(case):
    if case.kind not in KINDS:
        pytest.skip(f"no implementation of {case.kind} yet")
    import_module(f"parity_kinds.{case.kind}").check(case)
