"""Load for a text-to-image service: a plain Locust file, its prompts and the project's benchmarks."""
