"""Imported, never run: knows no DVC, no MLflow and no params file."""
