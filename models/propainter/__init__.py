"""ProPainter (arXiv 2309.03897): what is behind a moving thing in a video. Plain torch; no ComfyUI."""
