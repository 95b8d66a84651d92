"""Who may be written to: opt-outs, suppressions, replies, erasure."""
