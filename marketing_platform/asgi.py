"""The ASGI entry point."""

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")

application = get_asgi_application()

from marketing_platform.web_queries import bound_web_queries  # noqa: E402 - needs it

bound_web_queries()
