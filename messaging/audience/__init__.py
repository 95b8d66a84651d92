"""A campaign's recipients: lists are read, checked and loaded as its messages."""
