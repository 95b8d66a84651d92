"""Made-up accounts with all providers: `python -m marketing_platform.testing.accounts`.

Prints them in the form that a shell accepts before a command.
"""

from __future__ import annotations

import shlex
import sys
from typing import Any

from marketing_platform.provider_settings import provider_classes
from routing.providers.base import Provider
from routing.vocabulary import Channel


def made_up_options(cls: type[Provider]) -> dict[str, Any]:
    """A value for each option that the class declares; the simulator's, if any."""
    defaults = {option.name: option.default for option in cls.declared_options}
    is_email = cls.channel == Channel.EMAIL
    return {
        **{name: "x" if value == "" else value for name, value in defaults.items()},
        "FROM": "campaigns@example.com" if is_email else "+15005550006",
        **cls.simulated_options(port=1),
    }


def made_up_accounts() -> dict[str, str]:
    """The environment variables of all providers that have no default."""
    return {
        option.variable: str(made_up_options(cls)[option.name])
        for cls in provider_classes()
        for option in cls.declared_options
        if option.variable and option.default == ""
    }


if __name__ == "__main__":
    accounts = made_up_accounts().items()
    words = (f"{name}={shlex.quote(value)}" for name, value in accounts)
    sys.stdout.write(" ".join(words) + "\n")
