"""Training: one loop for all tasks, the trainers of both systems, and the recipes of the small checkpoints."""
