"""Statistics: entries written together with the messages, and reports from them."""
