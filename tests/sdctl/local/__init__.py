"""The local target without Ray."""
