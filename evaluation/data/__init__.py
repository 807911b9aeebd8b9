"""What is evaluated: lists of images, and their labels."""
