"""Training: one loop for all tasks, and the trainers of both systems."""
