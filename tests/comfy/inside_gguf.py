"""AniCrafter on a model whose weights are quantised and whose patcher works as ComfyUI-GGUF's does.

What that pack does, by its source (city96/ComfyUI-GGUF, nodes.py and ops.py): a quantised weight stays as it is; its
LoRA patches are hung on the tensor, and each call of the layer dequantises it and adds them. Run by
`test_anicrafter_patch.py`.
"""

import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.lora  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.ops  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.models.anicrafter import patch  # noqa: E402
from crafters.models.anicrafter.checkpoint import AniCrafter  # noqa: E402
from crafters.models.clip_vision import ClipVisionOutput  # noqa: E402
from helpers.long_clip import ramp  # noqa: E402
from helpers.small_wan import anicrafter_shapes, random_state, wan_shapes  # noqa: E402
from safetensors.torch import save_file  # noqa: E402


class Quantised(torch.Tensor):
    """int8 with a scale per row; `patches` is what the patcher hangs on it."""

    @staticmethod
    def of(weight):
        scale = weight.abs().amax(1, keepdim=True) / 127
        return Quantised.holding((weight / scale).round().to(torch.int8), scale, [])

    @staticmethod
    def holding(values, scale, patches):
        tensor = torch.Tensor._make_subclass(Quantised, values.as_subclass(torch.Tensor))
        tensor.scale, tensor.patches = scale, patches
        return tensor

    def dequantised(self):
        return self.as_subclass(torch.Tensor).float() * self.scale

    def to(self, *args, **kwargs):
        return Quantised.holding(super().to(*args, **kwargs), self.scale, [*self.patches])

    def detach(self):
        return self

    def clone(self, *args, **kwargs):
        return self


class Operations(comfy.ops.manual_cast):
    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state_dict, prefix, *args):
            weight = state_dict[f"{prefix}weight"]
            if not isinstance(weight, Quantised):
                return super()._load_from_state_dict(state_dict, prefix, *args)
            self.weight = torch.nn.Parameter(weight, requires_grad=False)
            self.bias = torch.nn.Parameter(state_dict[f"{prefix}bias"], requires_grad=False)

        def forward_comfy_cast_weights(self, input):
            if not isinstance(self.weight, Quantised):
                return super().forward_comfy_cast_weights(input)
            weight = self.weight.dequantised()
            for patches, key in self.weight.patches:
                weight = comfy.lora.calculate_weight(patches, weight, key)
            return torch.nn.functional.linear(input, weight.to(input), self.bias.to(input))


class Patcher(comfy.model_patcher.ModelPatcher):
    def patch_weight_to_device(self, key, device_to=None, inplace_update=False, **options):
        weight = comfy.utils.get_attr(self.model, key)
        if key not in self.patches or not isinstance(weight, Quantised):
            return super().patch_weight_to_device(key, device_to, inplace_update, **options)
        patched = weight.to(device_to)
        patched.patches = [(self.patches[key], key)]
        comfy.utils.set_attr_param(self.model, key, patched)

    def unpatch_model(self, device_to=None, unpatch_weights=True):
        for parameter in self.model.parameters() if unpatch_weights else ():
            if isinstance(parameter, Quantised):
                parameter.patches = []
        return super().unpatch_model(device_to, unpatch_weights)

    def load(self, *args, force_patch_weights=False, **options):
        super().load(*args, force_patch_weights=True, **options)

    def clone(self, *args, **options):
        own, self.__class__ = self.__class__, Patcher
        copy = super().clone(*args, **options)
        copy.__class__, self.__class__ = Patcher, own
        return copy


def is_quantised(name):
    return name.startswith("blocks.") and name.endswith(".weight") and "norm" not in name


STATE = {name: Quantised.of(x) if is_quantised(name) else x for name, x in random_state(wan_shapes()).items()}


@pytest.fixture(scope="module")
def quantised():
    model = comfy.sd.load_diffusion_model_state_dict(dict(STATE), model_options={"custom_operations": Operations})
    return Patcher.clone(model)


@pytest.fixture(scope="module")
def dense():
    plain = {name: x.dequantised() if isinstance(x, Quantised) else x for name, x in STATE.items()}
    return comfy.sd.load_diffusion_model_state_dict(plain)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("ani") / "ani.safetensors"
    save_file(random_state(anicrafter_shapes(), seed=1), path)
    return AniCrafter.from_files([path])


def ksample(model):
    condition, noise = ramp(3, width=256, clip=1280, text=4096)
    extras = {"concat_latent_image": condition.concat[:, 4:], "concat_mask": condition.concat[:, :4],
              "clip_vision_output": ClipVisionOutput(condition.clip)}
    texts = [[condition.positive, extras]], [[condition.negative, extras]]
    return comfy.sample.sample(model, noise, 2, 1.5, "euler", "simple", *texts, torch.zeros_like(noise),
                               disable_pbar=True, seed=0)


def crafted(model, weights):
    tokens = ramp(3, width=256, clip=1280, text=4096)[0].tokens
    return patch.apply(patch.apply_lora(model, weights, 1.0, comfy.sd.load_lora_for_models), tokens)


def close(a, b):
    assert (a - b).abs().max() <= 2e-4 * b.abs().max(), (a - b).abs().max()


def test_lora_and_tokens_on_quantised_weights(quantised, dense, weights):
    model = crafted(quantised, weights)
    assert type(model) is Patcher
    before = ksample(quantised)
    result = ksample(model)
    assert (result - before).abs().max() > 0.1
    close(result, ksample(crafted(dense, weights)))
    held = [p for p in model.model.diffusion_model.blocks.parameters() if isinstance(p, Quantised)]
    assert len(held) == 2 * 12 and all(p.dtype == torch.int8 for p in held)
    assert sum(len(p.patches) for p in held) == len(weights.lora)


def test_the_loaded_model_stays_as_it_was(quantised, dense, weights):
    plain = ksample(quantised)
    ksample(crafted(quantised, weights))
    assert torch.equal(ksample(quantised), plain)
    close(plain, ksample(dense))


def test_another_lora_on_the_same_weight(quantised, dense, weights):
    other = {f"diffusion_model.{name}": x for name, x in random_state(
        {"blocks.0.self_attn.q.lora_A.weight": (4, 256), "blocks.0.self_attn.q.lora_B.weight": (256, 4)}, seed=9
    ).items()}
    both = [comfy.sd.load_lora_for_models(crafted(m, weights), None, other, 1.0, 0)[0] for m in (quantised, dense)]
    close(*(ksample(model) for model in both))
