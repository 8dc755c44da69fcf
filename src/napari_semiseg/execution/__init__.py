"""Run a verb outside of this process and follow its event log."""
