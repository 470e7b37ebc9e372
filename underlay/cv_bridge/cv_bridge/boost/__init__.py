"""Where upstream keeps its compiled part."""
