"""AniCrafter Prompt in ComfyUI's executor, asked by a real (tiny) UMT5; run by `test_anicrafter_patch.py`."""


import comfy.cli_args

comfy.cli_args.args.cpu = True  # before anything of ComfyUI looks for a GPU

import comfy.sd  # noqa: E402
import comfy.text_encoders.wan  # noqa: E402
import folder_paths  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from crafters.host import folders  # noqa: E402
from crafters.models.anicrafter import prompt  # noqa: E402
from crafters.models.loaded import Loaded  # noqa: E402
from crafters.nodes.anicrafter import CraftersAniCrafterPrompt  # noqa: E402
from helpers.executor import execute  # noqa: E402
from helpers.small_wan import random_state  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

import nodes  # noqa: E402

TINY = {"d_ff": 96, "d_kv": 16, "d_model": 64, "num_heads": 4, "num_layers": 3, "vocab_size": 60}


class Target:
    params, clip, tokenizer = {}, comfy.text_encoders.wan.te(), comfy.text_encoders.wan.WanT5Tokenizer


class Encoder:
    """Stands for Load CLIP; counts how often it is run."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "load", "test"
    clip, runs = None, 0

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {}}

    def load(self):
        Encoder.runs += 1
        return (Encoder.clip,)


class Keeper:
    """Keeps what it is given."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "keep", "test", True
    given = None

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802
        return {"required": {"positive": ("CONDITIONING",), "negative": ("CONDITIONING",)}}

    def keep(self, positive, negative):
        Keeper.given = positive[0][0], negative[0][0]
        return {}


def run(with_encoder=True):
    """A fresh executor, so that nothing is cached. Returns its messages."""
    link = {"clip": ["1", 0]} if with_encoder else {}
    graph = {
        "1": {"class_type": "Encoder", "inputs": {}},
        "2": {"class_type": "CraftersAniCrafterPrompt", "inputs": {"file": "prompt.safetensors", **link}},
        "3": {"class_type": "Keeper", "inputs": {"positive": ["2", 0], "negative": ["2", 1]}},
    }
    Keeper.given = None
    return execute(graph)


@pytest.fixture
def umt5(tmp_path, monkeypatch):
    """ComfyUI's CLIP object and the file it was made from; the pack's model folder is new and empty."""
    sentencepiece = pytest.importorskip("sentencepiece")
    words = tmp_path / "words.txt"
    words.write_text("human in a scene\nblurred & grey\n" * 20)
    sentencepiece.SentencePieceTrainer.train(
        input=str(words), model_prefix=str(tmp_path / "t"), vocab_size=30, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        hard_vocab_limit=False, minloglevel=2,
    )
    pieces = torch.frombuffer(bytearray((tmp_path / "t.model").read_bytes()), dtype=torch.uint8)
    clip = comfy.sd.CLIP(
        Target,
        tokenizer_data={"spiece_model": pieces},
        model_options={"umt5xxl_model_config": TINY, "dtype": torch.float32},
    )
    own = clip.cond_stage_model.umt5xxl.transformer
    state = random_state({name: x.shape for name, x in own.state_dict().items()})
    own.load_state_dict(state)
    path = tmp_path / "umt5.safetensors"
    save_file({**{name: x for name, x in state.items() if "embed_tokens" not in name}, "spiece_model": pieces}, path)

    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path / "models"))
    monkeypatch.delitem(folder_paths.folder_names_and_paths, folders.OWN, raising=False)
    folders.register()
    for node in (Encoder, Keeper, CraftersAniCrafterPrompt):
        monkeypatch.setitem(nodes.NODE_CLASS_MAPPINGS, node.__name__, node)
    monkeypatch.setattr(Encoder, "clip", clip)
    monkeypatch.setattr(Encoder, "runs", 0)
    return path


def test_the_encoder_is_asked_once_and_never_loaded_again(umt5):
    run()
    first = Keeper.given
    assert Encoder.runs == 1
    run()
    assert Encoder.runs == 1, "the file is there, but the encoder was loaded"
    run(with_encoder=False)
    assert Encoder.runs == 1
    for now, then in zip(Keeper.given, first, strict=True):
        assert torch.equal(now, then.bfloat16().float())  # as the file keeps it


@torch.no_grad()
def test_the_hosts_answer_is_that_of_our_encoder(umt5):
    run()
    module, tokenize = prompt.load_text_encoder(umt5, torch.float32)
    encoder = prompt.TextEncoder(Loaded(module), tokenize)
    for given, text in zip(Keeper.given, (prompt.PROMPT, prompt.NEGATIVE_PROMPT), strict=True):
        ours = encoder.encode(text)
        assert given.shape == ours.shape == (1, 512, 64)
        assert (given - ours).abs().max() < 1e-4 * ours.abs().max()


def test_without_file_and_encoder_it_says_what_to_do(umt5):
    assert "connect the text encoder once" in run(with_encoder=False)
    assert Keeper.given is None
