"""AnchorCrafter (arXiv 2411.17383): a person presents a product. Plain torch and diffusers; no ComfyUI."""
