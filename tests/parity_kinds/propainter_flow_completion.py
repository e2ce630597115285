import torch
from crafters.models.propainter.flow_completion import FlowCompletion
from helpers.propainter_files import FLOW_COMPLETION, load


@torch.no_grad()
def check(case):
    network = load(case, FlowCompletion, FLOW_COMPLETION, case.dtype).to(case.device)
    x, steps = case.on_device(case.inputs), []
    network.feat_prop_module.register_forward_hook(lambda _, inputs, output: steps.append((*inputs, output)))

    forward, backward = network.complete(x["flow_forward"], x["flow_backward"], x["masks"])
    case.expect("forward_mid_features_every8", steps[0][0][:, ::8])
    case.expect("forward_propagated_features_every8", steps[0][1][:, ::8])
    case.expect("completed_forward", forward)
    case.expect("completed_backward", backward)
    x = case.on_device(x, case.dtype)
    case.expect("predicted_forward", network(x["flow_forward"], x["masks"][:-1]))
    case.expect("predicted_backward", network(x["flow_backward"].flip(0), x["masks"][1:].flip(0)).flip(0))
