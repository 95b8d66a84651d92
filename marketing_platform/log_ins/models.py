"""How many guesses are left, per address and user."""

from __future__ import annotations

from django.db import models


class LogInThrottle(models.Model):
    """The guesses from one address, or for one user from one address.

    All web processes share the row. The key is a digest, because people sometimes type
    their password into the name field.
    """

    key = models.CharField(max_length=64, unique=True)
    tat = models.DateTimeField(
        db_index=True, help_text="As in routing/rules/throttle.py."
    )
    is_blocked = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.key[:8]}"
