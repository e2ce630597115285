"""A small VAE of Stable Video Diffusion's kind, for pictures: the layers over time stay idle."""

from pathlib import Path

import torch
from torch import nn

from ...models.anchorcrafter.encoders import SCALING_FACTOR, load_vae
from ...training.settings import checked
from . import principal
from .autoencoder import AutoencoderSettings, AutoencoderTask, freeze, hardly_spread

# The decoder ends in a group normalisation, which takes level and contrast from a picture unless what it meets is well
# below its epsilon's root and comes as pairs of opposite sign: thus colours pass it unchanged.
FAINT = 3e-4
EPSILON = 1e-6  # diffusers'


@checked(kw_only=True)
class SvdVaeSettings(AutoencoderSettings):
    """widths: channels from whole to eighth size, multiples of 32, the first at least 64 and not like the second."""

    widths: tuple[int, ...] = (64, 32, 64, 96)

    def __post_init__(self):
        widths = self.widths
        if len(widths) != 4 or any(width % 32 for width in widths) or widths[0] < 64 or widths[0] == widths[1]:
            raise ValueError(
                f"widths are {widths}; four multiples of 32 are wanted, the first at least 64 and not like the second."
            )


class SvdVaeTask(AutoencoderTask):
    """diffusers' AutoencoderKLTemporalDecoder."""

    frames, channels = 1, 4

    def network(self) -> nn.Module:
        from diffusers import AutoencoderKLTemporalDecoder

        return AutoencoderKLTemporalDecoder(
            block_out_channels=self.settings.widths,
            layers_per_block=1,
            latent_channels=self.channels,
            down_block_types=("DownEncoderBlock2D",) * 4,
        )

    def start(self, clips: torch.Tensor) -> None:
        self._start_encoder(clips[:, :, 0])
        self._start_decoder()

    def _start_encoder(self, images: torch.Tensor) -> None:
        vae, encoder, x, count = self.trained, self.trained.encoder, images, 3
        principal.passing(encoder.conv_in, count)
        for block in encoder.down_blocks:
            for resnet in block.resnets:
                principal.quieten(resnet.conv2)
                if resnet.conv_shortcut is not None:
                    principal.passing(resnet.conv_shortcut, count)
            if block.downsamplers:
                conv = block.downsamplers[0].conv
                x = principal.halved(conv, x, count, min(4 * count, conv.out_channels))
                count = x.shape[1]
        principal.silence(encoder.down_blocks[0].resnets[0])
        principal.quieten(*(resnet.conv2 for resnet in encoder.mid_block.resnets))
        principal.quieten(encoder.mid_block.attentions[0].to_out[0])

        seen = []
        hook = encoder.conv_out.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        encoder(images)
        hook.remove()
        principal.fit(encoder.conv_out, seen[0], self.anchor(images[:, :, None])[:, :, 0])
        hardly_spread(encoder.conv_out, self.channels)
        vae.quant_conv.weight.copy_(torch.eye(2 * self.channels)[..., None, None])
        vae.quant_conv.weight[: self.channels] /= SCALING_FACTOR
        vae.quant_conv.bias.zero_()

    def _start_decoder(self) -> None:
        decoder = self.trained.decoder
        decoder.conv_in.weight.mul_(SCALING_FACTOR)
        decoder.conv_in.weight[:3] = 0
        decoder.conv_in.weight[:3, :, 1, 1] = self.anchor.colour * SCALING_FACTOR
        decoder.conv_in.bias[:3] = self.anchor.colour_bias
        principal.quieten(decoder.mid_block.attentions[0].to_out[0])
        for block in (decoder.mid_block, *decoder.up_blocks):
            for resnet in block.resnets:
                _still(resnet)
                principal.quieten(resnet.spatial_res_block.conv2)
                if resnet.spatial_res_block.conv_shortcut is not None:
                    principal.passing(resnet.spatial_res_block.conv_shortcut, 3)
        for block in decoder.up_blocks[:-1]:
            principal.smoothing(block.upsamplers[0].conv, 3)
        first, *others = (resnet.spatial_res_block for resnet in decoder.up_blocks[-1].resnets)
        for resnet in others:
            principal.silence(resnet)

        # Channels 0 … 5 of the last level: red, −red, green, … , faint.
        for parameter in (first.conv_shortcut.weight, first.conv_shortcut.bias, first.conv2.weight, first.conv2.bias):
            parameter[:6] = 0
            freeze(parameter, slice(6))
        decoder.conv_norm_out.weight[:6] = EPSILON**0.5 / FAINT
        decoder.conv_out.weight.mul_(principal.QUIET)
        decoder.conv_out.weight[:, :6] = 0
        decoder.conv_out.bias.zero_()
        for colour in range(3):
            for channel, sign in ((2 * colour, 1), (2 * colour + 1, -1)):
                first.conv_shortcut.weight[channel, colour] = sign * FAINT
                decoder.conv_out.weight[colour, channel, 1, 1] = sign
        decoder.time_conv_out.requires_grad_(False)
        decoder.time_conv_out.weight.zero_()
        decoder.time_conv_out.bias.zero_()
        decoder.time_conv_out.weight[:, :, 1, 0, 0] = torch.eye(3)

    def encode(self, network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
        return network.encode(clips[:, :, 0]).latent_dist.mean[:, :, None] * SCALING_FACTOR

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.trained.decode(latents[:, :, 0] / SCALING_FACTOR, num_frames=1).sample[:, :, None]

    def load(self, path: Path) -> nn.Module:
        return load_vae(path, torch.float32)

    def save(self, folder: Path, weights: dict[str, torch.Tensor]) -> None:
        """vae/, half precision, as `load_vae` reads it."""
        network = self.network()
        network.load_state_dict(weights)
        network.half().save_pretrained(folder / "vae")


def _still(resnet: nn.Module) -> None:
    """Let a block over space and time answer what its part over space does."""
    principal.silence(resnet.temporal_res_block)
    resnet.time_mixer.requires_grad_(False)
    resnet.time_mixer.forward = lambda x_spatial, x_temporal, image_only_indicator: x_spatial
