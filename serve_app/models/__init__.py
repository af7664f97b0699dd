"""The built-in model: what it understands, how it was trained, how it is judged."""
