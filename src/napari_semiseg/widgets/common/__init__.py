"""Share session, questions, background work and plots among all tabs."""
