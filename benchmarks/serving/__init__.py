"""The server under load, and what it costs over `Document.ask`."""
