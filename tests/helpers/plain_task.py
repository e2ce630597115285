"""A small training task, and runs of it in processes of their own."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from crafters.training.loop import train
from crafters.training.settings import Settings, fill
from safetensors.torch import save_file
from torch import nn


class PlainTask:
    """Regression of a fixed random function, with noise drawn per sample."""

    def __init__(self):
        generator = torch.Generator().manual_seed(3)
        self.trained = nn.Sequential(nn.Linear(6, 16), nn.SiLU(), nn.Linear(16, 2))
        for parameter in self.trained.parameters():
            parameter.data.normal_(std=0.3, generator=generator)
        self.inputs = torch.randn(10, 6, generator=generator)
        self.targets = self.inputs[:, :2] * 2 + self.inputs[:, 2:4] ** 2
        self.prepared = None

    def prepare(self, device, rank, ranks):
        self.prepared = (device, rank, ranks)

    def __len__(self):
        return len(self.inputs)

    def sample(self, index, draw, frames):
        noise = torch.from_numpy(draw.standard_normal(6).astype(np.float32))
        return {"x": self.inputs[index] + 0.01 * frames * noise, "y": self.targets[index]}

    def loss(self, batch):
        error = (self.trained(batch["x"]) - batch["y"]) ** 2
        return error.mean(), {"largest": error.detach().amax(1).mean()}

    def save(self, folder, weights):
        save_file(weights, folder / "plain.safetensors")

    def preview(self):
        shade = int(self.trained[0].weight.abs().sum() * 10) % 256
        return {"weights": np.full((4, 6, 3), shade, np.uint8)}


def plain_settings(**changes) -> Settings:
    base = {"stages": [{"steps": 12, "batch": 4}], "learning_rate": 1e-2, "ema": 0.9, "save_every": 4, "log_every": 3}
    return fill(Settings, {**base, **changes})


def run_processes(arguments: list[str], ranks: int) -> None:
    """The same Python program as `ranks` gloo processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": ranks, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "ACCELERATE_USE_CPU": "true"}
    running = []
    for rank in range(ranks):
        env = {k: str(v) for k, v in {**shared, "RANK": rank, "LOCAL_RANK": rank}.items()}
        env = {**os.environ, **env, "PYTHONPATH": str(Path(__file__).parents[1])}
        running.append(subprocess.Popen([sys.executable, *arguments], env=env))
    assert [process.wait(180) for process in running] == [0] * ranks


if __name__ == "__main__":
    train(PlainTask(), plain_settings(**json.loads(sys.argv[2])), Path(sys.argv[1]))
