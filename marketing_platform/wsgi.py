"""The WSGI entry point."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "marketing_platform.settings")

_application = get_wsgi_application()

# These need what has just been set up.
from marketing_platform.web_queries import bound_web_queries  # noqa: E402
from marketing_platform.webhook_handler import WebhookHandler  # noqa: E402

bound_web_queries()
application = WebhookHandler(_application)
