"""What lies on a disk: written whole or not at all, read within bounds, named safely."""
