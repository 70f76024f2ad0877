"""Sample photos for the demo, and the loopback server that plays their remote origin."""
