"""Conditions of a clip, one folder for each subject: with networks, or without any weights."""
