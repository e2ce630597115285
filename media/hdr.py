"""HDR pictures, HLG and PQ, as they are shown on an ordinary screen."""

from functools import lru_cache

import numpy as np

PQ, HLG = 16, 18  # transfer characteristics, by their numbers in ITU-T H.273
WHITE_NITS = 203.0  # of a white sheet of paper in both (ITU-R BT.2408); in HLG, 75 % of the signal
KNEE = 0.7  # of white's light; up to there nothing changes
BT709, P3 = 1, 12  # primaries, by the same list
TO_BT709 = {  # linear light of other primaries → BT.709's; BT.2020's (ITU-R BT.2407) for all but these
    BT709: np.eye(3),
    P3: np.array([[1.2249, -0.2249, 0.0], [-0.0420, 1.0420, 0.0], [-0.0197, -0.0786, 1.0983]]),
}
BT2020_TO_BT709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])


def tone_mapped(signal: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """R'G'B' of HLG or PQ, uint16 [H, W, 3] → sRGB uint8.

    Light relative to white, in BT.709's primaries; above the knee the largest channel runs towards 1 and takes the
    others with it, so that hues stay; white itself becomes 242. HLG is taken as the scene's light, PQ as the screen's.
    """
    light = _light(transfer)[signal]
    light = np.maximum(light @ TO_BT709.get(primaries, BT2020_TO_BT709).T.astype(np.float32), 0)
    largest = light.max(axis=-1, keepdims=True)
    rolled = 1 - (1 - KNEE) * np.exp(-(np.maximum(largest, KNEE) - KNEE) / (1 - KNEE))
    light *= np.where(largest > KNEE, rolled / np.maximum(largest, KNEE), 1)
    return _srgb()[(np.clip(light, 0, 1) * 65535 + 0.5).astype(np.uint16)]


@lru_cache
def _light(transfer: int) -> np.ndarray:
    """Light relative to white, for each of 65536 levels of the signal (ITU-R BT.2100)."""
    signal = np.linspace(0, 1, 65536)
    if transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073

        def scene(signal):
            return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)

        return (scene(signal) / scene(np.array(0.75))).astype(np.float32)
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = signal ** (1 / m2)
    nits = 10000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return (nits / WHITE_NITS).astype(np.float32)


@lru_cache
def _srgb() -> np.ndarray:
    """The level 0…255 of each of 65536 steps of light."""
    light = np.linspace(0, 1, 65536)
    level = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.round(255 * level).astype(np.uint8)
