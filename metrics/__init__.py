"""How good a generated clip is: the metrics of AnchorCrafter's paper and their networks. Plain torch; no ComfyUI."""
