"""Adaptive query routing: per query and per token, how much to trust which sensor."""
