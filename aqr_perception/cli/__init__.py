"""Thin commands behind ``python -m aqr_perception``."""
