"""The three networks of ProPainter, from their released files."""

from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from ..checkpoint import assign, read
from .flow_completion import FlowCompletion
from .generator import Generator
from .raft import RAFT

TRAINING_ONLY = "edgeDetector."  # of flow completion's loss
Network = TypeVar("Network", bound=nn.Module)


class ProPainter(nn.Module):
    """RAFT, flow completion and the generator, held together since they work in turns."""

    def __init__(self, raft: RAFT, flow_completion: FlowCompletion, generator: Generator):
        super().__init__()
        self.raft = raft
        self.flow_completion = flow_completion
        self.generator = generator

    @classmethod
    def from_files(
        cls, raft: str | Path, flow_completion: str | Path, generator: str | Path, dtype: torch.dtype = torch.float32
    ) -> "ProPainter":
        """From `raft-things.pth`, `recurrent_flow_completion.pth` and `ProPainter.pth` (release v0.1.0).

        dtype is that of flow completion and generator; RAFT stays in float32, as published. Raises CheckpointError
        for a file that is damaged, or another than it should be.
        """
        return cls(
            load_network(RAFT, raft),
            load_network(FlowCompletion, flow_completion, dtype),
            load_network(Generator, generator, dtype),
        )

    @property
    def dtype(self) -> torch.dtype:
        """What flow completion and generator compute in."""
        return next(self.generator.parameters()).dtype


def load_network(network: type[Network], path: str | Path, dtype: torch.dtype = torch.float32) -> Network:
    """One of the three from its released file. Raises CheckpointError."""
    with torch.device("meta"):
        built = network()
    state, _ = read(path)
    state = {name: tensor for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}
    assign(built, state, Path(path).name)
    return built.to(dtype).eval().requires_grad_(False)
