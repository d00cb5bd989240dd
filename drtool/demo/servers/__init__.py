"""Real servers on loopback ports, started from packages, for the demo, the tests and the bench."""
