"""Runs the tests of a configuration: the pipeline without a broker, with time in the test's hands."""
