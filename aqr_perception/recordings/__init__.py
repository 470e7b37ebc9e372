"""Recorded frames on disk."""
