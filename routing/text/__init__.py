"""Text as the networks see it: numbers, addresses, segments, keywords."""
