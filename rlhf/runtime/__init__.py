"""Where the roles run: Ray actors, or this process; the ports over both."""
