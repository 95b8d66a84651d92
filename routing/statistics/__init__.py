"""What is counted: entries written with the messages, and reports of them."""
