"""Who may be sent messages: opt-outs, suppressions, replies, erasure."""
