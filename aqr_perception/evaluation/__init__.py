"""The nuScenes detection metrics."""
