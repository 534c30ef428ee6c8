"""What happens, told once: lines of the log, figures for Prometheus, notices for people."""
