"""Adapters for other libraries: one file a library, each needs that library and is imported by whoever has it."""
