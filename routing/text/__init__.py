"""Text as networks handle it: numbers, addresses, segments, keywords."""
