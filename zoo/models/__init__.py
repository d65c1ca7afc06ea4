"""One architecture a file: its card and its builder. The folder is scanned; nothing is listed elsewhere."""
