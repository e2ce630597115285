"""Proof that the pack works: the demo, its small networks with their trainers, and the judges. Not in the registry."""
