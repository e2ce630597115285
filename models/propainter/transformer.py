"""The mask-guided sparse video transformer (ProPainter, section 3.3)."""

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, HEADS, DEPTH = 512, 4, 8
WINDOW = (5, 9)  # tokens, rows by columns
REACH = (3, 5)  # how far a window looks beyond its edges, in tokens
POOL = 4
PATCH = {"kernel_size": 7, "stride": 3, "padding": 3}  # how pictures of features become overlapping tokens, and back
TEMPORAL_STRIDE = 2  # block i looks at frames i % 2, i % 2 + 2, …
FEED_FORWARD = 1960


def token_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of the tokens of a feature map [height, width]."""
    return (height - 1) // PATCH["stride"] + 1, (width - 1) // PATCH["stride"] + 1


def fold(tokens: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """[T,h,w,C*49] to [T,C,*size]: overlapping patches added up."""
    return F.fold(tokens.flatten(1, 2).transpose(1, 2), size, **PATCH)


def unfold(x: torch.Tensor) -> torch.Tensor:
    """[T,C,H,W] to [T,h,w,C*49]."""
    grid = token_grid(*x.shape[-2:])
    return F.unfold(x, **PATCH).transpose(1, 2).unflatten(1, grid)


class SoftSplit(nn.Module):
    def __init__(self, channels: int = 128):
        super().__init__()
        self.embedding = nn.Linear(channels * 49, WIDTH)

    def forward(self, x):
        return self.embedding(unfold(x))


class SoftComposition(nn.Module):
    def __init__(self, channels: int = 128):
        super().__init__()
        self.embedding = nn.Linear(WIDTH, channels * 49)
        self.bias_conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, tokens, size):
        return self.bias_conv(fold(self.embedding(tokens), size))


def windows_of(x: torch.Tensor) -> torch.Tensor:
    """[...,H,W] to [...,windows,45]; H and W are multiples of the window."""
    tiles = x.unflatten(-1, (-1, WINDOW[1])).unflatten(-3, (-1, WINDOW[0]))  # [...,H/5,5,W/9,9]
    return tiles.transpose(-3, -2).flatten(-4, -3).flatten(-2)


def masked_windows(mask: torch.Tensor) -> torch.Tensor:
    """[rows,columns] of windows: in how many frames each touches the mask [T,h,w] of tokens."""
    return F.max_pool2d(_padded(mask[..., None])[None, ..., 0], WINDOW)[0].sum(0)


def _padded(x: torch.Tensor) -> torch.Tensor:
    """[T,h,w,C] with zeros to the right and below, to whole windows."""
    down, right = (-x.shape[1] % WINDOW[0], -x.shape[2] % WINDOW[1])
    return F.pad(x, (0, 0, 0, right, 0, down))


def _tokens_around() -> list[int]:
    """Which of the 4 x 45 tokens of the windows shifted to each corner lie outside the window itself."""
    rows, columns = WINDOW
    outside = []
    for down, right in ((False, False), (False, True), (True, False), (True, True)):
        for y in range(rows):
            for x in range(columns):
                near_y = y >= REACH[0] if down else y < rows - REACH[0]
                near_x = x >= REACH[1] if right else x < columns - REACH[1]
                outside.append(not (near_y and near_x))
    return [i for i, out in enumerate(outside) if out]


class SparseAttention(nn.Module):
    """Windows that touch the mask see all frames, their surroundings and a coarse whole; the others only themselves."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.proj = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.pool_layer = nn.Conv2d(WIDTH, WIDTH, POOL, POOL, groups=WIDTH)
        self.register_buffer("valid_ind_rolled", torch.tensor(_tokens_around()))

    def forward(self, x: torch.Tensor, masked: torch.Tensor, frames: slice) -> torch.Tensor:
        """x: [T,h,w,512]; masked: bool [windows]; frames: those that masked windows look at."""
        height, width = x.shape[1:3]
        x = _padded(x)
        size = x.shape[1:3]
        index = torch.arange(size[0] * size[1], device=x.device).view(size)
        own = windows_of(index)  # [windows,45] places in a frame of tokens
        query, key, value = (layer(x).flatten(1, 2) for layer in (self.query, self.key, self.value))
        out = torch.empty_like(query)

        alone = own[~masked]
        # One frame of one window is a batch entry: [T*windows,heads,45,128].
        q, k, v = (_heads(y[:, alone].flatten(0, 1)) for y in (query, key, value))
        out[:, alone] = _joined(F.scaled_dot_product_attention(q, k, v)).unflatten(0, (len(x), -1))

        seen = own[masked]
        if len(seen):
            corners = [
                windows_of(index.roll((y, x), (0, 1))) for y in (-REACH[0], REACH[0]) for x in (-REACH[1], REACH[1])
            ]
            around = torch.cat(corners, -1)[masked][:, self.valid_ind_rolled]
            places = torch.cat([seen, around], -1)  # [windows,45+148]
            pooled = self.pool_layer(x[frames].permute(0, 3, 1, 2)).flatten(2).transpose(1, 2)
            q = _heads(query[:, seen].transpose(0, 1).flatten(1, 2))
            k, v = (
                _heads(torch.cat([_gather(y[frames], places), _everywhere(layer(pooled), len(seen))], 1))
                for y, layer in ((key, self.key), (value, self.value))
            )
            answer = _joined(F.scaled_dot_product_attention(q, k, v))
            out[:, seen] = answer.unflatten(1, (len(x), -1)).transpose(0, 1)
        return self.proj(out.unflatten(1, size)[:, :height, :width])


def _gather(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """[T,N,C] at places [windows,n] as [windows,T*n,C]."""
    return x[:, places].transpose(0, 1).flatten(1, 2)


def _everywhere(pooled: torch.Tensor, windows: int) -> torch.Tensor:
    """The coarse tokens [T,n,C] of all frames, for every window: [windows,T*n,C]."""
    return pooled.flatten(0, 1).expand(windows, -1, -1)


def _heads(x: torch.Tensor) -> torch.Tensor:
    """[N,L,512] to [N,heads,L,128]."""
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def _joined(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).flatten(2)


class FusionFeedForward(nn.Module):
    """A feed-forward layer whose hidden tokens overlap as the patches do, and are averaged where they overlap."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Sequential(nn.Linear(WIDTH, FEED_FORWARD))
        self.fc2 = nn.Sequential(nn.GELU(), nn.Linear(FEED_FORWARD, WIDTH))

    def forward(self, x, size):
        count = fold(x.new_ones(1, *x.shape[1:3], 49), size)
        return self.fc2(unfold(fold(self.fc1(x), size) / count))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = SparseAttention()
        self.mlp = FusionFeedForward()

    def forward(self, x, size, masked, frames):
        x = x + self.attention(self.norm1(x), masked, frames)
        return x + self.mlp(self.norm2(x), size)


class SparseTransformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(self, x: torch.Tensor, size: tuple[int, int], mask: torch.Tensor) -> torch.Tensor:
        """x: tokens [T,h,w,512] of feature maps of `size`; mask: [local frames,h,w] of tokens, 1 where masked."""
        masked = masked_windows(mask).flatten() > 0
        for i, block in enumerate(self.transformer):
            x = block(x, size, masked, slice(i % TEMPORAL_STRIDE, None, TEMPORAL_STRIDE))
        return x
