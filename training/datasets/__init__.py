"""Training clips of both systems, in the published layouts."""
