"""The service with keys, behind a real Serve."""
