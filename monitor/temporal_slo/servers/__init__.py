"""Real servers as child processes on loopback, for the demo and the tests; downloaded if not installed."""
