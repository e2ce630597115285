"""Avatars made of 3-D gaussians: their files, motion and pictures. Plain torch; no ComfyUI."""
