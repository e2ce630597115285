import torch
from crafters.models.propainter.flow_completion import FlowCompletion
from propainter_files import FLOW_COMPLETION, expect, load


@torch.no_grad()
def check(case):
    network, x, steps = load(case, FlowCompletion, FLOW_COMPLETION), case.inputs, []
    network.feat_prop_module.register_forward_hook(lambda _, inputs, output: steps.append((*inputs, output)))

    forward, backward = network.complete(x["flow_forward"], x["flow_backward"], x["masks"])
    expect(case, "forward_mid_features_every8", steps[0][0][:, ::8])
    expect(case, "forward_propagated_features_every8", steps[0][1][:, ::8])
    expect(case, "completed_forward", forward)
    expect(case, "completed_backward", backward)
    expect(case, "predicted_forward", network(x["flow_forward"], x["masks"][:-1]))
    expect(case, "predicted_backward", network(x["flow_backward"].flip(0), x["masks"][1:].flip(0)).flip(0))
