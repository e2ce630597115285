"""Synthetic people, products and rooms, rendered exactly consistent with all their conditions."""
