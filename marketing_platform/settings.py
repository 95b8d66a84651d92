"""Settings, all from the environment.

`.env` beside manage.py is read if it exists. Every variable has a `*_FILE` variant with
the path of a file that contains the value (for secrets mounted by an orchestrator).
.env.example lists them. With nothing set, the project runs on SQLite under `var/`.
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext

from marketing_platform.environment import Environment
from marketing_platform.provider_settings import message_providers
from messaging.rules.quiet_hours import QuietHours
from messaging.vocabulary import CampaignStatus
from routing import vocabulary

django_stubs_ext.monkeypatch()

BASE_DIR = Path(__file__).resolve().parent.parent

env = Environment()
env.read_env(BASE_DIR / ".env")

# Our files (the database, rejected rows, handset logs) contain personal data: other
# users of this host must not read them. Set before the first file is made.
os.umask(env.octal("UMASK", default="077"))
# Files that a web server may serve itself.
FILE_UPLOAD_DIRECTORY_PERMISSIONS = 0o755

STATE_DIR = Path(env.str("STATE_DIR", default=str(BASE_DIR / "var")))
STATE_DIR.mkdir(parents=True, exist_ok=True)


def _own_secret_key() -> str:
    """A random key, kept in the state directory, for a single host that sets none.

    Written to another file and then linked, which only the first of several processes
    can do, so that none reads a partial key or one that is replaced later.
    """
    path = STATE_DIR / "secret_key"
    if not path.exists():
        with NamedTemporaryFile("w", dir=STATE_DIR) as draft:  # its mode is 0600
            draft.write(secrets.token_urlsafe(64))
            draft.flush()
            with suppress(FileExistsError):
                os.link(draft.name, path)
    return path.read_text()


DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or _own_secret_key()
# Former keys: links in e-mails already sent stay valid.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
# Distinguishes installations that share a SECRET_KEY, such as production and a copy
# for trials, so that neither accepts the other's receipts.
INSTALLATION_ID = env.str("INSTALLATION_ID", default="")
# The public address of this installation: providers post their receipts here.
PUBLIC_URL = env.web_address("PUBLIC_URL", default="http://127.0.0.1:8000")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
_PUBLIC_HOST = urlsplit(PUBLIC_URL).hostname
if _PUBLIC_HOST and _PUBLIC_HOST not in ALLOWED_HOSTS:
    ALLOWED_HOSTS.append(_PUBLIC_HOST)  # or every receipt would be refused
# Proxies whose X-Forwarded-For is trusted.
TRUSTED_PROXIES = env.networks("TRUSTED_PROXIES", default=["127.0.0.1", "::1"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# On behind TLS, which `PUBLIC_URL` shows.
_IS_HTTPS = PUBLIC_URL.startswith("https://")
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=_IS_HTTPS)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _IS_HTTPS else None
SECURE_HSTS_SECONDS = env.int("SECURE_HSTS_SECONDS", default=31536000 * _IS_HTTPS)
# Both affect all hosts below this one's name, and are hard to undo.
SECURE_HSTS_INCLUDE_SUBDOMAINS = env.bool(
    "SECURE_HSTS_INCLUDE_SUBDOMAINS", default=False
)
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]  # they ask to set both
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _IS_HTTPS

INSTALLED_APPS = [
    "marketing_platform.back_office.apps.BackOfficeConfig",  # django.contrib.admin
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django_q",
    "rest_framework",
    "django_filters",
    "django_htmx",  # its script, and nothing else of it
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "anymail",
    "routing",
    "messaging",
    "marketing_platform",
]

MIDDLEWARE = [
    "marketing_platform.diagnosis.probes.ProbeMiddleware",
    "routing.receipts.webhooks.CountWebhookCalls",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "marketing_platform.caching.NoStoreMiddleware",
    "marketing_platform.content_policy.ContentPolicyMiddleware",
    "marketing_platform.web_queries.QueryLimitMiddleware",
    "marketing_platform.audit.acting.ActingMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "marketing_platform.log_ins.idle.IdleMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "marketing_platform.urls"
WSGI_APPLICATION = "marketing_platform.wsgi.application"
ASGI_APPLICATION = "marketing_platform.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES: dict[str, Any] = {
    "default": env.db("DATABASE_URL", default=f"sqlite:///{STATE_DIR}/db.sqlite3")
}
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    # WAL lets readers and one writer work at once; IMMEDIATE takes the write lock at
    # BEGIN, where waiting is possible, and not at the first write, where it fails.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"].setdefault("CONN_HEALTH_CHECKS", True)
    DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
    # If a host is cut off or a process freezes during a transaction, its messages would
    # stay locked until TCP gives up, which takes hours. Options in the URL take
    # precedence.
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,  # seconds, as the next three
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # milliseconds
        "options": "-c idle_in_transaction_session_timeout=30s",
    } | DATABASES["default"].get("OPTIONS", {})
# How long a query of a page, the API or a webhook may take, in seconds; 0: no limit.
# Commands and migrations have none. See marketing_platform/web_queries.py.
WEB_STATEMENT_TIMEOUT = env.float("WEB_STATEMENT_TIMEOUT", default=15.0)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTHENTICATION_BACKENDS = ["marketing_platform.log_ins.backend.ThrottledBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{validator}"}
    for validator in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_REDIRECT_URL = "admin:index"
# A session ends when it has not been used for so long; see log_ins/idle.py.
SESSION_COOKIE_AGE = 60 * env.at_least(2, "SESSION_IDLE_MINUTES", default=60)

LANGUAGE_CODE = "en"
FORMAT_MODULE_PATH = "marketing_platform.formats"
TIME_ZONE = env.zone("TIME_ZONE", default="UTC")
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
STATIC_ROOT.mkdir(exist_ok=True)
WHITENOISE_USE_FINDERS = True  # a fresh clone shows its pages without collectstatic

# How messages leave. See routing/providers and docs/providers.md.
MESSAGE_PROVIDERS = message_providers(env, public_url=PUBLIC_URL)
# None: real accounts. Otherwise where `manage.py simulate_providers` listens.
PROVIDER_SIMULATOR_PORT = env.int("PROVIDER_SIMULATOR_PORT", default=None)

# The reply to HELP, if the provider accepts our reply (Twilio) and does not answer by
# itself. "" sends no reply.
INBOUND_HELP_TEXT = env.str("INBOUND_HELP_TEXT", default="")

# Further STOP messages, comma-separated: a handset that texts one of them gets no more
# messages.
INBOUND_STOP_WORDS = env.list("INBOUND_STOP_WORDS", default=[])

# When no marketing is sent, in the recipients' local time, unless its campaign has
# other hours: such as 21:00-08:00. "": never.
QUIET_HOURS = env.parsed(
    "QUIET_HOURS", QuietHours.parse, "two local times such as 21:00-08:00"
)

# Whether SMS and MMS are also sent to landlines, freephone and VoIP numbers: few of
# them accept messages, and providers charge for trying. (Premium-rate, satellite and
# similar numbers never get any.)
SEND_TO_LANDLINES = env.bool("SEND_TO_LANDLINES", default=False)

# How the queue is drained. See messaging/queue.
QUEUE_BATCH_SIZE = env.int("QUEUE_BATCH_SIZE", default=50)  # per claim, at most
QUEUE_WINDOW = env.int("QUEUE_WINDOW", default=200)  # in flight, per process
QUEUE_LEASE_SECONDS = env.int("QUEUE_LEASE_SECONDS", default=90)
# How long a message whose outcome is unknown waits for a receipt.
QUEUE_VERDICT_SECONDS = env.int("QUEUE_VERDICT_SECONDS", default=3600)
# A worker that has waited so long for one answer of the database is ended; 0: never.
QUEUE_HANG_SECONDS = env.int("QUEUE_HANG_SECONDS", default=120)
# How long one statement of a worker may take, on PostgreSQL; 0: no limit.
WORKER_STATEMENT_TIMEOUT = env.float("WORKER_STATEMENT_TIMEOUT", default=60.0)
# /readyz fails if messages have been due, and none has left, for longer than this.
QUEUE_STALLED_SECONDS = env.int("QUEUE_STALLED_SECONDS", default=300)
RECEIPTS_STALLED_SECONDS = env.int("RECEIPTS_STALLED_SECONDS", default=60)
# Jitter adds up to this share of a retry's delay.
RETRY_JITTER = env.float("RETRY_JITTER", default=0.1)
# Dotted paths of your own retry policies, comma-separated. Only these may be a route's
# `customRetryPolicy` (docs/routing.md).
RETRY_POLICIES = env.list("RETRY_POLICIES", default=[])

# Dotted paths of your own functions that the cluster may run, comma-separated. It runs
# no others. A person who can write a schedule can call these with any arguments.
QCLUSTER_TASKS = env.list("QCLUSTER_TASKS", default=[])
# `run_cluster` restarts a cluster that shows no sign of life for this long. Keep it
# above the duration of your longest task, if such tasks may keep all workers busy.
QCLUSTER_PATIENCE_SECONDS = env.int("QCLUSTER_PATIENCE_SECONDS", default=45)
# The django-q2 cluster wakes and supervises workers. All state is in the message table,
# so correctness does not depend on it. Traps: `retry` must exceed `timeout`, and a
# prefetch (`queue_limit`) above 1 runs waiting tasks twice.
Q_CLUSTER: dict[str, Any] = {
    "name": "messages",
    "workers": env.int("QCLUSTER_WORKERS", default=2),
    "timeout": 120,
    "retry": 180,
    "queue_limit": 1,
    "bulk": 1,
    "max_attempts": 1,
    "ack_failures": True,
    "catch_up": False,
    "scheduler": False,  # messaging.cluster.schedules replaces it
    "save_limit": 100,
    "poll": 0.2,
    "label": "Task queue",
    "orm": "default",
    "broker_class": "messaging.cluster.broker.DatabaseBroker",
}

# The REST API (docs/api.md). The layers below do not know about tokens: their views
# declare the scope they need, and these classes compare it with the caller's.
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "marketing_platform.tokens.authentication.BearerAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["marketing_platform.tokens.permissions.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["marketing_platform.tokens.throttling.TokenThrottle"],
    "DEFAULT_PARSER_CLASSES": ["routing.api.conventions.parsers.ShallowJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": [
        "marketing_platform.tokens.filters.OwnOnly",
        "routing.api.conventions.filters.StrictFilterBackend",
    ],
    "DEFAULT_PAGINATION_CLASS": "routing.api.conventions.pagination.Pages",
    "DEFAULT_SCHEMA_CLASS": "routing.api.conventions.openapi.ApiSchema",
    "DEFAULT_METADATA_CLASS": None,  # OPTIONS would describe views to anyone
    "EXCEPTION_HANDLER": "routing.api.conventions.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
# Requests per second of one token, and how many may come at once after an idle time.
API_RATE_PER_SECOND = env.float("API_RATE_PER_SECOND", default=50.0)
API_BURST = env.float("API_BURST", default=100.0)
# How long the response to an Idempotency-Key is kept and repeated.
IDEMPOTENCY_KEY_HOURS = env.int("IDEMPOTENCY_KEY_HOURS", default=24)

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Marketing platform",
    "DESCRIPTION": "Routes, messages, campaigns and delivery attempts. docs/api.md of "
    "the project walks through it.",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.0",
    # The first one is used by the documentation page, whatever the host's name.
    "SERVERS": [
        {"url": "/", "description": "The host that serves this document."},
        {"url": PUBLIC_URL, "description": "The installation's public address."},
    ],
    "SCHEMA_PATH_PREFIX": "/api",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SORT_OPERATION_PARAMETERS": False,
    "SWAGGER_UI_DIST": "SIDECAR",  # pages load nothing from other hosts
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        term.__name__: term.choices()
        for term in (
            CampaignStatus,
            vocabulary.AttemptOutcome,
            vocabulary.CampaignKind,
            vocabulary.Channel,
            vocabulary.ErrorClass,
            vocabulary.FallbackReason,
            vocabulary.MessageStatus,
            vocabulary.RetryStrategy,
            vocabulary.RoutingStrategy,
            vocabulary.UnknownOutcomePolicy,
        )
    },
    "PREPROCESSING_HOOKS": ["routing.api.conventions.openapi.without_trailing_slash"],
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "routing.api.conventions.openapi.name_enum_members",
    ],
}

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}
    },
    "filters": {"masking": {"()": "marketing_platform.logs.Masking"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "filters": ["masking"],
        }
    },
    "root": {
        "handlers": ["stderr"],
        "level": env.word(
            "LOG_LEVEL",
            ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
            default="INFO",
        ),
    },
    # Django gives these handlers of their own, which would not mask anything.
    "loggers": {
        "django": {"handlers": [], "level": "INFO"},
        "django.server": {"handlers": [], "level": "INFO", "propagate": True},
    },
}
