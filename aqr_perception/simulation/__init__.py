"""A simulated drive with known truth, and the faults that its sensors can have."""
