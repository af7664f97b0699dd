"""Where a service runs: on Kubernetes, on this machine, or behind a URL."""
