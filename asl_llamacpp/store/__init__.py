"""What is kept between prompts: the documents that a context knows, and their states."""
