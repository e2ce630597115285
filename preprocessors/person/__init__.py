"""The reference person: the photo's size, and the character cut out of it."""
