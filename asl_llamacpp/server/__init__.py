"""The HTTP server: OpenAI's API for one model that knows documents, and the page; one route a file, in `routes/`."""
