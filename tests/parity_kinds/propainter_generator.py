import torch
import torch.nn.functional as F
from crafters.models.propainter.generator import Generator
from crafters.models.propainter.propagation import propagate_pixels
from crafters.models.propainter.transformer import PATCH, masked_windows
from crafters.models.propainter.warp import consistent
from helpers.propainter_files import GENERATOR, load


@torch.no_grad()
def check(case):
    network = load(case, Generator, GENERATOR, case.dtype).to(case.device)
    x, local, seen = case.on_device(case.inputs), case.config["local_frames"], {}

    def watch(name, module):
        module.register_forward_hook(lambda _, inputs, output: seen.update({name: output}))

    watch("features", network.feat_prop_module)
    watch("tokens_in", network.ss)
    watch("block0", network.transformers.transformer[0])
    watch("tokens_out", network.transformers)
    watch("composed", network.sc)

    frames, masks = x["frames"].float() / 255 * 2 - 1, x["masks"].float()
    flows = x["flow_forward"], x["flow_backward"]
    case.expect("forward_valid", consistent(*flows))
    filled, remaining = propagate_pixels(frames * (1 - masks), *flows, masks)
    case.expect("propagated_frames", filled[:: case.config["propagated_frame_stride"]])
    case.expect("updated_masks", remaining)

    shown = frames * (1 - masks) + filled * masks
    shown, masks, remaining = (part.to(case.dtype) for part in (shown, masks, remaining))
    features = network.encode(shown, masks, remaining)
    case.expect("encoder_features_every8", features[:, ::8])
    between = [flow[: local - 1] for flow in flows]
    output = network(features, *between, masks[:local], remaining[:local])
    case.expect("propagated_local_features_every8", seen["features"][:, ::8])
    case.expect("tokens_in_every16", seen["tokens_in"][..., ::16])
    case.expect("tokens_block0_every16", seen["block0"][..., ::16])
    case.expect("tokens_out_every16", seen["tokens_out"][..., ::16])
    case.expect("composed_features_every16", seen["composed"][:, ::16])
    case.expect("output_frames", output)

    small = F.interpolate(masks[:local], features.shape[-2:], mode="nearest")
    case.expect("window_has_mask", masked_windows(F.max_pool2d(small, **PATCH)[:, 0]))
