"""Plumbing that knows no trading: settings, files, errors and exit codes, this machine, the pipeline, splits on disk."""
