"""ProPainter's three released files, with the weights that the reference numbers were made with."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from crafters.models.propainter.system import load_network
from crafters.models.propainter.transformer import DEPTH

from helpers.parity_case import named_weight

RAFT, FLOW_COMPLETION, GENERATOR = FILES = ("raft-things.pth", "recurrent_flow_completion.pth", "ProPainter.pth")
VALID = "transformers.transformer.{}.attention.valid_ind_rolled"
# Of the windows shifted to the four corners, the tokens that lie outside the window; as released.
VALID_INDICES = torch.tensor(
    [
        i
        for i in range(180)
        if not [
            i % 45 // 9 < 2 and i % 9 < 4,
            i % 45 // 9 < 2 and i % 9 >= 5,
            i % 45 // 9 >= 3 and i % 9 < 4,
            i % 45 // 9 >= 3 and i % 9 >= 5,
        ][i // 45]
    ]
)


def write_files(shapes, folder, salt="", gains=None, files=FILES):
    """Writes `files` into `folder` as released; shapes: {file: {name: shape}}."""
    for file in files:
        state = {}
        for name, shape in shapes[file].items():
            weight = named_weight(name.replace(".norm3.", ".downsample.1."), shape, salt)
            for pattern, gain in (gains or {}).get(file, {}).items():
                if re.fullmatch(pattern, name):
                    weight = weight * gain
            state[name] = weight
            if name.endswith("running_var"):
                state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
        if file == GENERATOR:
            state |= {VALID.format(i): VALID_INDICES for i in range(DEPTH)}
        torch.save(state, Path(folder) / file)


def load(case, network, file, dtype=torch.float32):
    """One network of a case, by the road of released files."""
    with TemporaryDirectory() as folder:
        write_files(case.shapes, folder, case.config.get("salt", ""), case.config.get("gains"), [file])
        return load_network(network, Path(folder) / file, dtype)
