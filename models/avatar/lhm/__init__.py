"""LHM (arXiv 2503.10625): one photo → an animatable avatar of 40 000 gaussians, as AniCrafter makes its characters."""
