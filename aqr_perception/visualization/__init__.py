"""Pictures of frames and boxes."""
