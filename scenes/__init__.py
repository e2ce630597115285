"""Synthetic people, products and rooms, rendered exactly consistent with all their conditions."""

# (width, height) that the small networks are made for. Presenters have what Fit Person makes of a short side of 192: a
# network that only knew 192×256 was half as far off again in poses there, and 2 dB worse.
PORTRAIT, LANDSCAPE = (192, 320), (256, 192)
