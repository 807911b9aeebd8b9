"""What well-known errors would do to the figures."""
