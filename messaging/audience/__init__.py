"""Who is written to: lists read, checked and loaded as messages of a campaign."""
