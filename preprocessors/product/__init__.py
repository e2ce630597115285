"""A product: its views from photos or clips, its depth, what stands in for it."""
