"""The layers of the zoo's networks, imported by the builders that use them and never to list models."""
