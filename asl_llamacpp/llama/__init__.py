"""`Llama`: llama-cpp-python's, with a policy for the KV cache; models and documents, found and opened."""
