"""Share session, background work, pictures and preferences among all tabs."""
