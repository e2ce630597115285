"""Clips and photos: read as a viewer sees them, resized, written."""
