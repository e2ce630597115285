"""What is behind a moving person in a clip, by ProPainter or without weights."""
