"""How defaults are told where help has no value to show."""

MODEL_DEFAULT = "SmolLM2-135M-Instruct, if installed"
