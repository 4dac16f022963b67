"""Ingest, database, API, analysis and pages."""
