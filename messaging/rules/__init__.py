"""What a message says and when it may leave: pure functions of plain values."""
