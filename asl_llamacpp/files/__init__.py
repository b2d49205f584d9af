"""Files beside a model: saved documents, calibrations, and the fingerprints that tie them to it."""
