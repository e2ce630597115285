"""AnchorCrafter's trainer."""
