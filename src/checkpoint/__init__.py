"""Checkpoints: our own files, packed ones, and those of other programs, a file for each format."""
