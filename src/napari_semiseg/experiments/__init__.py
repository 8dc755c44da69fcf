"""Compare methods, or suggestion strategies, by many trainings on known masks."""
