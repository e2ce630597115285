"""The small networks of the demo: their trainers and their data."""
