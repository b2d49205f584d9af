"""Documents, questions to them, and the evidence for the answers."""
