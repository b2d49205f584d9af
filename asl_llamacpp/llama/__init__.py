"""`Llama`: llama-cpp-python's, with a policy for the KV cache of long prompts."""
