"""The lists of images, as package data."""
