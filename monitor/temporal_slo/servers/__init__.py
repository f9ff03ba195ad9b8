"""Real servers as child processes, for the demo and the tests: found or fetched, started on loopback, stopped."""
