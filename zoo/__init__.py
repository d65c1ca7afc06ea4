"""The zoo: who answers. Models are cards and builders, one architecture a file in ``zoo/models/``."""
