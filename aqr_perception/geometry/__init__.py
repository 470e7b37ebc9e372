"""Rigid transforms, cameras and boxes. NumPy only; knows nothing of the rest of the package."""
