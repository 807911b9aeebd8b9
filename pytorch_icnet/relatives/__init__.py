"""ICNets of other projects, each as its project published it."""
