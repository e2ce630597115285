"""A small VAE of Wan 2.1's kind, for clips."""

import re
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field
from torch import nn

from ...models.anicrafter.encoders import MEAN, STD, load_vae
from ...training.settings import checked
from . import principal
from .autoencoder import AutoencoderSettings, AutoencoderTask, hardly_spread

FILE = "wan_small_vae.safetensors"
# Wan's normalisation divides a pixel's channels by their length. A channel that is large and always the same makes that
# length almost the same everywhere, so that what is linear stays so.
STEADY = 40.0


@checked(kw_only=True)
class WanVaeSettings(AutoencoderSettings):
    """width: channels at whole size; twice that at half, four times at less."""

    width: Annotated[int, Field(ge=16, multiple_of=16)] = 16


class WanVaeTask(AutoencoderTask):
    """diffusers' AutoencoderKLWan, kept under Wan's own names."""

    frames, channels = 4, 16

    def network(self) -> nn.Module:
        from diffusers import AutoencoderKLWan

        return AutoencoderKLWan(base_dim=self.settings.width, z_dim=self.channels)

    def start(self, clips: torch.Tensor) -> None:
        self._start_encoder(clips)
        self._start_decoder()

    def _start_encoder(self, clips: torch.Tensor) -> None:
        from diffusers.models.autoencoders.autoencoder_kl_wan import WanResample

        vae, encoder, x, count = self.trained, self.trained.encoder, clips, 3
        principal.passing(encoder.conv_in, count)
        for layer in encoder.down_blocks:
            if not isinstance(layer, WanResample):
                _quieten(layer, count)
                continue
            conv = layer.resample[1]
            # Over time a level answers means of two frames, and how the strongest of them differ.
            means = conv.out_channels if layer.mode == "downsample2d" else conv.out_channels * 3 // 4
            frames = x.transpose(1, 2).flatten(0, 1)
            x = principal.halved(conv, frames, count, min(4 * count, means))
            x = x.unflatten(0, (len(clips), -1)).transpose(1, 2)
            if layer.mode == "downsample3d":
                x = _halved_in_time(conv, layer.time_conv, x)
            count = x.shape[1]
            last = layer
        # The channel that is left free in the last level is the steady one, in the first frame and in later ones.
        last.resample[1].bias[-1] = STEADY
        last.time_conv.weight[-1], last.time_conv.bias[-1] = 0, STEADY
        for resnet in encoder.down_blocks[:2]:
            principal.silence(resnet)
        _quieten_middle(encoder.mid_block)
        for resnet in (*encoder.down_blocks[-2:], *encoder.mid_block.resnets):
            _restore(resnet.norm1, -1)
        _restore(encoder.mid_block.attentions[0].norm, -1)
        encoder.norm_out.gamma[-1] = 0

        seen = []
        hook = encoder.conv_out.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        vae.encode(clips)
        hook.remove()
        principal.fit(encoder.conv_out, torch.cat(seen, 2), self.anchor(clips))
        hardly_spread(encoder.conv_out, self.channels)
        vae.quant_conv.weight.copy_(torch.eye(2 * self.channels)[..., None, None, None])
        vae.quant_conv.bias.zero_()
        vae.quant_conv.weight[: self.channels] *= torch.tensor(STD).view(-1, 1, 1, 1, 1)
        vae.quant_conv.bias[: self.channels] = torch.tensor(MEAN)

    def _start_decoder(self) -> None:
        vae, decoder = self.trained, self.trained.decoder
        vae.post_quant_conv.weight.copy_((torch.eye(self.channels) / torch.tensor(STD))[..., None, None, None])
        vae.post_quant_conv.bias.copy_(-torch.tensor(MEAN) / torch.tensor(STD))
        decoder.conv_in.weight[:3] = 0
        decoder.conv_in.weight[:3, :, 2, 1, 1] = self.anchor.colour
        decoder.conv_in.bias[:3] = self.anchor.colour_bias
        _quieten_middle(decoder.mid_block)
        for block in decoder.up_blocks:
            for resnet in block.resnets:
                _quieten(resnet, 3)
            if block.upsamplers is None:
                continue
            layer = block.upsamplers[0]
            principal.smoothing(layer.resample[1], 3)
            if layer.mode == "upsample3d":  # both frames that it makes of one
                channels = layer.resample[1].in_channels
                for first in (0, channels):
                    rows = slice(first, first + 3)
                    layer.time_conv.weight[rows], layer.time_conv.bias[rows] = 0, 0
                    layer.time_conv.weight[rows, :3, 2, 0, 0] = torch.eye(3)
        for resnet in decoder.up_blocks[-1].resnets[1:]:
            principal.silence(resnet)

        # At whole size: channels 0 … 5 are red, −red, green, … and channel 6 is steady.
        last = decoder.up_blocks[-2].upsamplers[0].resample[1]
        colours, last.weight[:7], last.bias[:7] = last.weight[:3].clone(), 0, 0
        last.bias[6] = STEADY
        _restore(decoder.up_blocks[-1].resnets[0].norm1, 6)
        _restore(decoder.norm_out, 6)
        decoder.conv_out.weight.mul_(principal.QUIET)
        decoder.conv_out.weight[:, :7] = 0
        decoder.conv_out.bias.zero_()
        for colour in range(3):
            for channel, sign in ((2 * colour, 1), (2 * colour + 1, -1)):
                last.weight[channel] = sign * colours[colour]
                decoder.conv_out.weight[colour, channel, 2, 1, 1] = sign

    def encode(self, network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
        mean = network.encode(clips).latent_dist.mean
        return (mean - _by_channel(MEAN, mean)) / _by_channel(STD, mean)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.trained.decode(latents * _by_channel(STD, latents) + _by_channel(MEAN, latents)).sample

    def load(self, path: Path) -> nn.Module:
        return load_vae(path, torch.float32)

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """One file under Wan's own names, half precision, as ComfyUI's Load VAE reads it."""
        from safetensors.torch import save_file

        save_file(native_names({name: tensor.half().contiguous() for name, tensor in weights.items()}), folder / FILE)


def _quieten(resnet: nn.Module, count: int) -> None:
    principal.quieten(resnet.conv2)
    if not isinstance(resnet.conv_shortcut, nn.Identity):
        principal.passing(resnet.conv_shortcut, count)


def _restore(norm: nn.Module, steady: int) -> None:
    """Give the channels beside the steady one back their size, which the following activation counts on; it itself has
    done its duty and would only make what follows it too sensitive."""
    norm.gamma.mul_(STEADY / norm.scale)
    norm.gamma[steady] = 0


def _quieten_middle(block: nn.Module) -> None:
    principal.quieten(*(resnet.conv2 for resnet in block.resnets), block.attentions[0].proj)


def _halved_in_time(conv: nn.Conv2d, time_conv: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Make `time_conv` answer, of two frames, the mean of each of x's channels and the first channels' differences.

    x: [N, K, 1+2n, H, W], what the spatial convolution before it answers. The first frame does not meet `time_conv`, so
    the spatial one must answer 0 where differences will be. Returns the answer [N, K + differences, 1+n, H, W], one
    channel less than there are: the last is left free.
    """
    means, free = x.shape[1], conv.out_channels - 1
    count = min(free - means, means)
    conv.weight[means:], conv.bias[means:] = 0, 0
    time_conv.weight[: means + count], time_conv.bias[: means + count] = 0, 0
    for channel in range(means):
        time_conv.weight[channel, channel, 1:] = 0.5
    for channel in range(count):
        time_conv.weight[means + channel, channel, 1], time_conv.weight[means + channel, channel, 2] = -0.5, 0.5
    before, after = x[:, :, 1::2], x[:, :, 2::2]
    later = torch.cat([(before + after) / 2, (after - before)[:, :count] / 2], 1)
    first = torch.cat([x[:, :, :1], torch.zeros_like(x[:, :count, :1])], 1)
    return torch.cat([first, later], 2)


def _by_channel(values: tuple[float, ...], like: torch.Tensor) -> torch.Tensor:
    return like.new_tensor(values).view(-1, 1, 1, 1)


_RESIDUAL = {"norm1": 0, "conv1": 2, "norm2": 3, "conv2": 6}
_PARTS = (  # of diffusers' names, in this order, and what Wan calls them
    (r"\.(norm1|conv1|norm2|conv2)\.", lambda found: f".residual.{_RESIDUAL[found[1]]}."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"\.conv_in\.", ".conv1."),
    (r"\.norm_out\.", ".head.0."),
    (r"\.conv_out\.", ".head.2."),
    (r"\.mid_block\.resnets\.(\d)\.", lambda found: f".middle.{2 * int(found[1])}."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.down_blocks\.", ".downsamples."),
    (r"\.up_blocks\.(\d)\.resnets\.(\d)\.", lambda found: f".upsamples.{4 * int(found[1]) + int(found[2])}."),
    (r"\.up_blocks\.(\d)\.upsamplers\.0\.", lambda found: f".upsamples.{4 * int(found[1]) + 3}."),
)


def native_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a diffusers AutoencoderKLWan with two residual blocks a level, under the names of Wan's files."""
    native = {}
    for name, tensor in state.items():
        for pattern, replacement in _PARTS:
            name = re.sub(pattern, replacement, name)
        native[name] = tensor
    return native
