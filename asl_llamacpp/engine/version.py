"""The package's version, here alone: pyproject.toml, saved states and `asl-llamacpp --version` read it."""

__version__ = "0.1.0"
