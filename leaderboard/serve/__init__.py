"""`zoobench serve`: an API over what is stored, and a page to try models on. Imported by the command alone."""
