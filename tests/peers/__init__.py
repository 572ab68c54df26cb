"""Small real servers that play the systems around the hub."""
