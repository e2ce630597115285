"""`crafters convert`: which file becomes which."""

import pytest
import torch
from crafters.cli import main
from crafters.models.anchorcrafter.system import AnchorCrafter
from helpers.plain_anchor import small_system


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("CRAFTERS_MODELS", str(tmp_path / "models"))
    torch.save(small_system().state_dict(), tmp_path / "AnchorCrafter-notune.pth")
    return tmp_path / "AnchorCrafter-notune.pth"


@pytest.mark.parametrize("choice", [(), ("--dtype", "bf16")])
def test_anchorcrafter_lands_where_its_loader_looks(source, capsys, choice):
    assert main(["convert", "anchorcrafter", str(source), *choice]) == 0
    dtype = "bf16" if choice else "fp16"
    out = source.parent / "models" / "crafters" / f"AnchorCrafter-notune_{dtype}.safetensors"
    assert capsys.readouterr().out.strip() == str(out)
    assert AnchorCrafter.from_file(out).unet.dtype == (torch.bfloat16 if choice else torch.float16)


def test_anchorcrafter_is_one_file(source, capsys):
    assert main(["convert", "anchorcrafter", str(source), str(source)]) == 2
    assert "AnchorCrafter is one file" in capsys.readouterr().err
