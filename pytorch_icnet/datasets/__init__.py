"""Data sets: their classes, tables of classes in files, and palettes."""
