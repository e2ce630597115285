import torch
from crafters.models.propainter.raft import RAFT, Correlation
from crafters.models.propainter.warp import pixel_grid
from propainter_files import RAFT as FILE
from propainter_files import expect, load


@torch.no_grad()
def check(case):
    raft = load(case, RAFT, FILE)
    frames = case.inputs["frames"].float() / 255 * 2 - 1
    features, context = raft.fnet(frames[:2]), raft.cnet(frames[:1])
    expect(case, "fnet_frame0_every4", features[0, ::4])
    expect(case, "cnet_frame0_every4", context[0, ::4])

    correlation = Correlation(features[:1], features[1:])
    shifted = pixel_grid(features) + torch.tensor([0.3, -1.7]).view(2, 1, 1)
    expect(case, "corr_lookup_shift_every4", correlation(shifted[None])[0, ::4])
    iterations = case.config["iterations"]
    expect(case, "flow_low_iterations", torch.cat([f for _, f in raft.refine(correlation, context, iterations)]))

    forward, backward = raft(frames, iterations)
    expect(case, "flow_forward", forward)
    expect(case, "flow_backward", backward)
