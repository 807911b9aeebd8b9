"""ICNet in PyTorch, with Caffe's layer names."""
