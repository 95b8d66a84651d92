#!/usr/bin/env python
"""Django's command-line door to the project."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured
        from django.core.management import execute_from_command_line
        from django.db.utils import OperationalError, ProgrammingError
    except ImportError:
        sys.exit(
            "Django is not installed here: run `make install`, use .venv/bin/python."
        )
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except (OperationalError, ProgrammingError) as error:
        if "--traceback" in sys.argv:
            raise
        from routing.text.untrusted import one_line

        what = one_line(str(error))
        sys.exit(f"Database: {what} (`manage.py doctor` says what to do.)")


if __name__ == "__main__":
    main()
