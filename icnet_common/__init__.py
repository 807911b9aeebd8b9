"""What every folder uses: errors, atomic files, the console, progress, signals, configuration, work in parallel.

Knows nothing of Caffe, torch or images.
"""
