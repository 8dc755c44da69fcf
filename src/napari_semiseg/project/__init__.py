"""The project folder: cases, runs, evaluation and export."""
