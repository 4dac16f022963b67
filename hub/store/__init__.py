"""All SQL of the hub. Functions take the connection first, return typed rows, never open, commit or log."""
