"""Log-ins: a limit on guessing passwords, and a record of attempts."""
