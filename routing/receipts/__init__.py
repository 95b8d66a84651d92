"""What providers call us with: webhooks, receipts, replies, kept and matched."""
