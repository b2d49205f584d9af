"""A model and a document, found and opened for a command."""
