"""AniCrafter (arXiv 2505.20255): a character moves in a filmed scene, on Wan 2.1 I2V. Plain torch; no ComfyUI."""
