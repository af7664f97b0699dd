"""The local target with real Rays on this machine."""
