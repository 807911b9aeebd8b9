"""Benchmarks: forward pass, per layer, and end to end."""
