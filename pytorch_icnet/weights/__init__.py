"""Files of weights: reading, telling apart, known ones and where they come from."""
