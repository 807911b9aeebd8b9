"""Files that a converted net can be written to."""
