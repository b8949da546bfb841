"""The Turnout service: doors, completion, providers, quality, planning and the command line."""
