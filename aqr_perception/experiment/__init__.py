"""The comparison of the baseline with every kind of adaptive query routing, from one YAML file."""
