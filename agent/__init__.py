"""The daemon on the aircraft and the field engineer's offline tool."""
