"""Caffe nets as PyTorch graphs."""
