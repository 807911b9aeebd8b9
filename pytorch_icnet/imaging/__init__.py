"""MATLAB's road from image to label map."""
