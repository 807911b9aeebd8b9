"""Exact rewrites of a converted graph, each with its proof."""
