"""Caffe's formats: text nets, binary and HDF5 weights, mean files."""
