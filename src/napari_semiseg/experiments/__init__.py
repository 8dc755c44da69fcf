"""Compare methods and strategies by many trainings on known masks."""
