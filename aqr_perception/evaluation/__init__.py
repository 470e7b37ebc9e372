"""The nuScenes detection metrics: `metrics.evaluate`, and `report.Report` for people and files."""
