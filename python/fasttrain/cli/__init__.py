"""Floor 7: argv -> a journey; one file a command."""
