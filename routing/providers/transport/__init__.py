"""How adapters reach their providers: HTTP, SMTP, deadlines, signatures."""
