"""What a budget makes of a policy: the KV of a prompt in the worst case, before any work is done."""
