"""Many inputs as one planned, resumable, verified run."""
