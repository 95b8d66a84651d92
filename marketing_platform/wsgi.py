"""The WSGI entry point."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")

application = get_wsgi_application()

from marketing_platform.web_queries import bound_web_queries  # noqa: E402 - needs it

bound_web_queries()
