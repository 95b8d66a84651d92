"""The contents of messages, and when they may leave: pure functions of plain values."""
