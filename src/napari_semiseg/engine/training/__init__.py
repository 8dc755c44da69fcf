"""Train: sessions, the loop, checkpoints, and labels that change meanwhile."""
