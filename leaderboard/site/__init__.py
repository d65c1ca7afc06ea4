"""The static site of a results folder: plain pages that open from disk; see ``README.md`` in this folder."""
