"""Hand meshes on a clip: from HaMeR, or fitted to keypoints."""
