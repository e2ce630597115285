import torch
from crafters.models.propainter.raft import RAFT, Correlation
from crafters.models.propainter.warp import pixel_grid
from helpers.propainter_files import RAFT as FILE
from helpers.propainter_files import load

FP32_ONLY = "RAFT computes in float32, as published, whatever the other networks do."


@torch.no_grad()
def check(case):
    raft = load(case, RAFT, FILE).to(case.device)
    frames = case.inputs["frames"].to(case.device).float() / 255 * 2 - 1
    features, context = raft.fnet(frames[:2]), raft.cnet(frames[:1])
    case.expect("fnet_frame0_every4", features[0, ::4])
    case.expect("cnet_frame0_every4", context[0, ::4])

    correlation = Correlation(features[:1], features[1:])
    shifted = pixel_grid(features) + features.new_tensor([0.3, -1.7]).view(2, 1, 1)
    case.expect("corr_lookup_shift_every4", correlation(shifted[None])[0, ::4])
    iterations = case.config["iterations"]
    case.expect("flow_low_iterations", torch.cat([f for _, f in raft.refine(correlation, context, iterations)]))

    forward, backward = raft(frames, iterations)
    case.expect("flow_forward", forward)
    case.expect("flow_backward", backward)
