"""Drawing on a picture: meshes, gaussians, stick figures. Plain torch."""
