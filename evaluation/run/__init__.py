"""A run over a list that can be resumed, by one process or several."""
