"""Trains the built-in model: `python -m serve_app.models.train --out DIR`."""
