"""One prefill: the engine runs the layers, the policy's selector decides, a report tells."""
