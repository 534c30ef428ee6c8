"""Events: lines of the log, metrics for Prometheus, notices for people."""
