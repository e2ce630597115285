"""Networks and what they are made of: the two systems, avatars, bodies, drawing, fitting networks. No ComfyUI."""
