"""Everything that knows an autopilot: dialects, modes, message columns to channels, log readers."""
