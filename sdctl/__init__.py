"""Operate a text-to-image service on Ray Serve from the command line."""

__version__ = "0.1.0"
