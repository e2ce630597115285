import torch
from crafters.models.anchorcrafter.loss import hoi_loss, hoi_region, hoi_weight, network_input

FP32_ONLY = "The loss adds up in float32, whatever the network computes in."


def check(case):
    x = case.on_device(case.inputs)
    for mode, hand in (("pretrain", x["hand"]), ("finetune", None)):
        weight = hoi_weight(hoi_region(x["object_depth"], hand), case.config["loss_rate_hoi"])
        case.check(f"loss_weight_{mode}", weight[0, :, 0])
        for name, value in case.config["sigmas"].items():
            sigma = torch.tensor([value], device=case.device)
            network_in, timestep = network_input(x["latents"], x["noise"], sigma)
            case.check(f"network_input_{name}", network_in)
            case.check(f"network_timestep_{name}", timestep)
            loss = hoi_loss(x["network_output"], network_in, x["latents"], sigma, weight)
            case.check(f"loss_{name}_{mode}", loss[None])
