"""What an evaluation prints and writes: the original's text, tables as CSV, everything as JSON, and a page as HTML."""
