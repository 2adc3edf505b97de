"""Contract suites: run them on your own metric, task, data, target, stage or executor.

Each ``check_...`` raises an ``AssertionError`` that says what the contract asks for.
"""
