"""Contract suites: call them on your own implementation of a protocol, in a test of yours."""
