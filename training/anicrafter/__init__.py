"""AniCrafter's trainer."""
