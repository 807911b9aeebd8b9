"""Recipes of training: what they may say, and those that are bundled."""
