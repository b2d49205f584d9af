"""One file a route, each with a `router`."""
