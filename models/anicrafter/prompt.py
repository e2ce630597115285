"""AniCrafter's prompts, and UMT5, the text encoder that is needed once to turn them into a small file."""

import html
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from ...files.bounded import brief
from ...files.whole import if_possible, whole
from ..checkpoint import CheckpointError, read, sizes_of
from ..loaded import Loaded
from ..pretrained import from_folder, pretrained
from .fp8 import dequantise

PROMPT = "human in a scene"  # both are what every published run used
NEGATIVE_PROMPT = (
    "细节模糊不清，字幕，作品，画作，画面，静止，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，画得不好的手部，"
    "画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，杂乱的背景，三条腿，背景人很多，倒着走"
)
TEXT_TOKENS = 512


class TextEncoder:
    """loaded: a transformers UMT5EncoderModel; tokenize: text → token numbers, the end mark included."""

    def __init__(self, loaded: Loaded, tokenize: Callable[[str], list[int]]):
        self.loaded, self.tokenize = loaded, tokenize

    def encode(self, text: str) -> torch.Tensor:
        """[1, 512, D] float32 on the CPU, zero after the text's own tokens."""
        tokens = self.tokenize(" ".join(html.unescape(html.unescape(text)).split()))
        if len(tokens) > TEXT_TOKENS:
            tokens = tokens[: TEXT_TOKENS - 1] + tokens[-1:]
        device = self.loaded.load()
        states = self.loaded.module(torch.tensor([tokens], device=device)).last_hidden_state
        return pad_text(states.float().cpu())


def pad_text(embedding: torch.Tensor) -> torch.Tensor:
    """[1, L ≤ 512, D] → [1, 512, D], filled with zeros."""
    return F.pad(embedding, (0, 0, 0, TEXT_TOKENS - embedding.shape[1]))


def save_prompts(path: str | Path, positive: torch.Tensor, negative: torch.Tensor) -> None:
    """Keep two text embeddings [1, 512, D] in a small file, so that nobody needs the text encoder again."""
    from safetensors.torch import save_file

    used = {"positive": positive, "negative": negative}
    used = {name: x[:, : int(x[0].any(-1).nonzero().max()) + 1].bfloat16().contiguous() for name, x in used.items()}
    with whole(path) as part:
        save_file(used, part, {"format": "pt"})


def keep_prompts(path: str | Path, positive: torch.Tensor, negative: torch.Tensor) -> None:
    """As `save_prompts`; where nothing can be written, a warning says so."""
    with if_possible("The prompt will be encoded anew in the next session"):
        save_prompts(path, positive, negative)


def load_prompts(path: str | Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Positive and negative embedding [1, 512, D], float32, from a file of `save_prompts`. Raises CheckpointError."""
    state, _ = read(path)
    shapes = {tuple(x.shape[:1] + x.shape[2:]) for x in state.values() if x.ndim == 3 and x.shape[1] <= TEXT_TOKENS}
    if set(state) != {"positive", "negative"} or len(shapes) != 1 or any(x.ndim != 3 for x in state.values()):
        raise CheckpointError(f"{Path(path).name} holds no prompts; make it with `crafters cache-prompt`.")
    return pad_text(state["positive"].float()), pad_text(state["negative"].float())


def load_text_encoder(path: str | Path, dtype: torch.dtype = torch.bfloat16) -> tuple[torch.nn.Module, Callable]:
    """UMT5 and its tokenizer, as `TextEncoder` takes them.

    path: a diffusers pipeline's folder (with `text_encoder` and `tokenizer`), or a single file of ComfyUI's, which
    carries its tokenizer. Raises CheckpointError.
    """
    from transformers import AutoTokenizer, UMT5Config, UMT5EncoderModel

    path = Path(path)
    if path.is_dir():
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                str(path / "tokenizer"), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers checks little: anything may be raised
            raise CheckpointError(
                f"{path.name}/tokenizer cannot be read ({brief(error)}): give the whole folder as it is on the hub."
            ) from error
        return from_folder(UMT5EncoderModel, path / "text_encoder", dtype), lambda text: tokenizer(text)["input_ids"]
    state, _ = read(path)
    pieces = state.pop("spiece_model", None)
    if pieces is None or "shared.weight" not in state:
        raise CheckpointError(
            f"{path.name} is not a UMT5 text encoder with its tokenizer inside (such as umt5_xxl_fp16.safetensors)."
        )
    state = dequantise(state, dtype, path.name)
    block = "encoder.block.0.layer."
    with sizes_of(f"{path.name} is not a UMT5 text encoder (such as umt5_xxl_fp16.safetensors)"):
        buckets, heads = state[f"{block}0.SelfAttention.relative_attention_bias.weight"].shape
        config = UMT5Config(
            vocab_size=len(state["shared.weight"]),
            d_model=state["shared.weight"].shape[1],
            d_kv=len(state[f"{block}0.SelfAttention.q.weight"]) // heads,
            d_ff=len(state[f"{block}1.DenseReluDense.wi_0.weight"]),
            num_layers=len({name.split(".")[2] for name in state if name.startswith("encoder.block.")}),
            num_heads=heads,
            relative_attention_num_buckets=buckets,
            feed_forward_proj="gated-gelu",
        )
    encoder = pretrained(UMT5EncoderModel, path.name, dtype, None, config=config, state_dict=state)
    return encoder, _sentencepiece(pieces)


def _sentencepiece(pieces: torch.Tensor) -> Callable[[str], list[int]]:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise CheckpointError(
            "Reading the tokenizer inside this file needs sentencepiece: `pip install sentencepiece`, or give a "
            "diffusers folder."
        ) from error
    return SentencePieceProcessor(model_proto=pieces.numpy().tobytes(), add_eos=True).encode
