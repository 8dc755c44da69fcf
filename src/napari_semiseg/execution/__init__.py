"""Run verbs of the command line in other processes and follow their event logs."""
