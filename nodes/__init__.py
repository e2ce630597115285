"""ComfyUI nodes: schemas and calls, no tensor maths."""
