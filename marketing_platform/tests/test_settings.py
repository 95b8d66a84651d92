"""The settings as processes get them: from an environment, in a separate process."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from marketing_platform.testing.accounts import made_up_accounts

TIMEOUT = 60  # seconds
# Prints the named settings and what depends on them, as JSON.
SCRIPT = """
import json, sys
from django.conf import settings
print(json.dumps({name: getattr(settings, name) for name in sys.argv[1:]}, default=str))
"""


@pytest.fixture
def environment(tmp_path):
    """Only a state directory, and no `.env` to fill the gaps."""
    return {
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "marketing_platform.settings",
        "STATE_DIR": str(tmp_path / "state"),
        **dict.fromkeys(_names_in_dotenv(), ""),
    }


def _names_in_dotenv():
    path = Path(settings.BASE_DIR) / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition("=")[0].strip() for line in lines if "=" in line]


def start(script, *arguments, env):
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        env=env,
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    output, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, errors
    return output


def manage(*arguments, env):
    """A finished command of manage.py."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        env=env,
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def read(*names, env, **variables):
    """These settings, in an environment with these variables."""
    return json.loads(finish(start(SCRIPT, *names, env=env | variables)))


def providers(*, env, **variables):
    """MESSAGE_PROVIDERS, as name -> options."""
    found = read("MESSAGE_PROVIDERS", env=env, **variables)["MESSAGE_PROVIDERS"]
    return {name: definition["OPTIONS"] for name, definition in found.items()}


def database(*, env, **variables):
    return read("DATABASES", env=env, **variables)["DATABASES"]["default"]


@pytest.mark.parametrize(
    ("variable", "value", "wanted"),
    [
        ("QUEUE_WINDOW", "many", "must be a whole number."),
        ("API_BURST", "much", "must be a number."),
        ("SMTP_USE_TLS", "1  # STARTTLS", "must be 1 or 0."),
        ("DATABASE_URL", "messages", "must be a URL such as postgres://"),
        ("DATABASE_URL", "postgres://us:hush@db:port/m", "must be a URL such as"),
        ("SECRET_KEY_FILE", "/nowhere", "names a file that cannot be read: No such"),
        ("QUIET_HOURS", "9pm", "must be two local times such as"),
        ("LOG_LEVEL", "LOUD", "must be one of DEBUG, INFO,"),
        ("TIME_ZONE", "Mars/X", "must be the name of a time zone,"),
        ("TIME_ZONE", "/etc/passwd", "must be the name of a time zone,"),
        ("UMASK", "0o77", "must be three octal digits,"),
        ("TRUSTED_PROXIES", "proxy", "must be addresses or networks,"),
        ("PUBLIC_URL", "example.com", "must be a URL with http:// or https://,"),
        ("PUBLIC_URL", "example.com:8000", "must be a URL with http:// or https://,"),
        ("PUBLIC_URL", "https://", "must be a URL with http:// or https://,"),
        ("PUBLIC_URL", "https://x.com:port", "must be a URL with http:// or https://,"),
    ],
)
def test_a_variable_that_cannot_be_read_is_named_in_one_line(
    environment, variable, value, wanted
):
    checked = manage("check", env=environment | {variable: value})

    assert checked.returncode == 1
    assert checked.stderr.startswith(f"{variable} {wanted}")
    assert len(checked.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("url", "wanted"),
    [("", "no such table"), ("postgres://us@127.0.0.1:1/m", "connection")],
    ids=["not migrated", "not there"],
)
@pytest.mark.parametrize("command", ["issue_token ann", "process_queue"])
def test_a_database_that_cannot_be_used_is_told_in_one_line(
    environment, command, url, wanted
):
    if url:
        environment["DATABASE_URL"] = url

    refused = manage(*command.split(), env=environment)

    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Database: {wanted}")
    assert len(refused.stderr.splitlines()) == 1


def test_a_secret_key_is_made_once_and_is_nobody_elses_to_read(environment):
    first, second = (read("SECRET_KEY", env=environment) for _ in range(2))

    path = Path(environment["STATE_DIR"]) / "secret_key"
    assert first == second == {"SECRET_KEY": path.read_text()}
    assert len(path.read_text()) >= 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_processes_that_start_together_agree_on_the_secret_key(environment):
    started = [start(SCRIPT, "SECRET_KEY", env=environment) for _ in range(8)]

    assert len({finish(process) for process in started}) == 1
    left = {path.name for path in Path(environment["STATE_DIR"]).iterdir()}
    assert left == {"secret_key", "static"}


def test_a_secret_key_of_the_environment_is_used_and_none_is_made(environment):
    found = read("SECRET_KEY", env=environment, SECRET_KEY="from the environment")

    assert found["SECRET_KEY"] == "from the environment"
    assert not (Path(environment["STATE_DIR"]) / "secret_key").exists()


def test_a_value_may_stand_in_a_file_and_end_with_a_line_end(environment, tmp_path):
    (tmp_path / "key").write_text("from the file\n")
    (tmp_path / "token").write_text("twilio's\r\n")
    files = {
        "SECRET_KEY_FILE": str(tmp_path / "key"),
        "TWILIO_AUTH_TOKEN_FILE": str(tmp_path / "token"),
    }

    found = read("SECRET_KEY", env=environment, SECRET_KEY="ignored", **files)
    token = providers(env=environment, **files)["TwilioSMS"]["AUTH_TOKEN"]

    assert found["SECRET_KEY"] == "from the file"
    assert token == "twilio's"


def test_a_database_may_stand_in_a_file(environment, tmp_path):
    (tmp_path / "url").write_text("postgres://ada:secret@db.example.com:5433/news\n")

    found = database(env=environment, DATABASE_URL_FILE=str(tmp_path / "url"))

    assert (found["USER"], found["PASSWORD"]) == ("ada", "secret")
    assert (found["HOST"], found["PORT"]) == ("db.example.com", 5433)
    assert found["NAME"] == "news"


def test_with_nothing_set_it_runs_on_sqlite_in_the_state_directory(environment):
    found = database(env=environment)

    assert found["ENGINE"] == "django.db.backends.sqlite3"
    assert found["NAME"] == f"{environment['STATE_DIR']}/db.sqlite3"


@pytest.mark.parametrize("url", ["", "sqlite:////tmp/x.sqlite3", "sqlite://:memory:"])
def test_sqlite_waits_for_its_turn_and_lets_readers_read(environment, url):
    variables = {"DATABASE_URL": url} if url else {}

    options = database(env=environment, **variables)["OPTIONS"]

    assert options["transaction_mode"] == "IMMEDIATE"
    assert options["timeout"] == 30
    assert "journal_mode=WAL" in options["init_command"]


def test_postgresql_keeps_its_connections_and_looks_whether_they_live(environment):
    found = database(env=environment, DATABASE_URL="postgres://u:p@h/n")

    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert found["CONN_HEALTH_CHECKS"] is True
    assert found["CONN_MAX_AGE"] == 60
    assert "transaction_mode" not in found.get("OPTIONS", {})


def test_the_url_has_the_last_word_on_connections(environment):
    url = "postgres://u:p@h/n?conn_max_age=5&sslmode=require&options=-c%20a=b"

    found = database(env=environment, DATABASE_URL=url)

    assert found["CONN_MAX_AGE"] == 5
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["OPTIONS"]["options"] == "-c a=b"


def test_a_host_that_is_cut_off_holds_no_lock_for_long(environment):
    found = database(env=environment, DATABASE_URL="postgres://u:p@h/n")

    assert "idle_in_transaction_session_timeout=30s" in found["OPTIONS"]["options"]
    assert found["OPTIONS"]["tcp_user_timeout"] == 30_000


TLS_SETTINGS = (
    "SECURE_SSL_REDIRECT",
    "SECURE_PROXY_SSL_HEADER",
    "SECURE_HSTS_SECONDS",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
)


def test_a_public_url_with_https_turns_on_what_belongs_to_it(environment):
    found = read(*TLS_SETTINGS, env=environment, PUBLIC_URL="https://m.example.com")

    assert found["SECURE_PROXY_SSL_HEADER"] == ["HTTP_X_FORWARDED_PROTO", "https"]
    assert found["SECURE_HSTS_SECONDS"] == 31536000
    assert all(found.values())


@pytest.mark.parametrize(
    "name", ["SECURE_HSTS_INCLUDE_SUBDOMAINS", "SECURE_HSTS_PRELOAD"]
)
def test_other_hosts_are_bound_to_tls_only_when_asked(environment, name):
    https = {"env": environment, "PUBLIC_URL": "https://m.example.com"}

    assert read(name, **https)[name] is False
    assert read(name, **https, **{name: "1"})[name] is True


def test_without_https_nothing_of_it_is_on(environment):
    found = read(*TLS_SETTINGS, env=environment, PUBLIC_URL="http://m.example.com")

    assert not any(found.values())


def test_words_and_addresses_are_taken_as_people_write_them(environment):
    variables = {"LOG_LEVEL": "debug", "PUBLIC_URL": "https://m.example.com/ "}

    found = read("LOGGING", "PUBLIC_URL", env=environment, **variables)

    assert found["LOGGING"]["root"]["level"] == "DEBUG"
    assert found["PUBLIC_URL"] == "https://m.example.com"


def test_an_empty_variable_is_as_good_as_none(environment):
    variables = {"TIME_ZONE": "", "LOG_LEVEL": "", "PUBLIC_URL": ""}

    found = read("TIME_ZONE", "PUBLIC_URL", env=environment, **variables)

    assert found == {"TIME_ZONE": "UTC", "PUBLIC_URL": "http://127.0.0.1:8000"}


def test_debug_is_off_and_only_this_host_is_served_unless_told_otherwise(environment):
    found = read("DEBUG", "ALLOWED_HOSTS", env=environment)

    assert found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]


def test_the_deployment_check_finds_nothing_behind_tls(environment):
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level=WARNING"],
        env=environment
        | made_up_accounts()
        | {"PUBLIC_URL": "https://m.example.com", "ALLOWED_HOSTS": "m.example.com"},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )

    assert checked.returncode == 0, checked.stderr


ACCOUNTS = {
    "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "token",
    "TWILIO_FROM": "+15550000001",
    "VONAGE_API_KEY": "key",
    "VONAGE_API_SECRET": "secret",
    "VONAGE_SIGNATURE_SECRET": "signature",
    "VONAGE_FROM": "15550000002",
    "SENDGRID_API_KEY": "SG.1",
    "SENDGRID_WEBHOOK_VERIFICATION_KEY": "public",
    "EMAIL_FROM": "news@example.com",
    "SMTP_HOST": "mail.example.com",
    "SMTP_PORT": "2525",
    "SMTP_USERNAME": "ada",
    "SMTP_PASSWORD": "lovelace",
}


def test_accounts_of_the_environment_reach_their_providers(environment):
    found = providers(env=environment, **ACCOUNTS)

    for name in ("TwilioSMS", "TwilioMMS"):
        assert found[name]["ACCOUNT_SID"] == "AC1"
        assert found[name]["BASE_URL"] == "https://api.twilio.com"
    for name in ("VonageSMS", "VonageMMS"):
        assert found[name]["API_SECRET"] == "secret"
        assert found[name]["SIGNATURE_SECRET"] == "signature"
    assert found["SendGridEmail"]["WEBHOOK_VERIFICATION_KEY"] == "public"
    assert found["SendGridEmail"]["FROM"] == "news@example.com"
    smtp = found["SMTPEmail"]
    assert (smtp["HOST"], smtp["PORT"], smtp["USE_TLS"]) == (
        "mail.example.com",
        2525,
        True,
    )


def test_an_empty_variable_leaves_a_provider_its_default(environment):
    empty = dict.fromkeys(["SMTP_USE_TLS", "SMTP_PORT", "TWILIO_BASE_URL"], "")

    found = providers(env=environment, **empty)

    assert (found["SMTPEmail"]["USE_TLS"], found["SMTPEmail"]["PORT"]) == (True, 587)
    assert found["TwilioSMS"]["BASE_URL"] == "https://api.twilio.com"


def test_receipts_come_to_the_public_url(environment):
    found = providers(env=environment, PUBLIC_URL="https://m.example.com/", **ACCOUNTS)

    for name, options in found.items():
        assert options["RECEIPT_URL"] == f"https://m.example.com/webhooks/{name}/"


def test_a_price_belongs_to_one_provider_alone(environment):
    found = providers(
        env=environment, TWILIOSMS_UNIT_PRICE="0.05", TWILIOSMS_CURRENCY="EUR"
    )

    priced = {name for name, options in found.items() if "UNIT_PRICE" in options}
    assert priced == {"TwilioSMS"}
    assert found["TwilioSMS"]["CURRENCY"] == "EUR"


def test_a_provider_is_used_for_all_countries_or_for_those_that_are_named(environment):
    found = providers(env=environment, TWILIOMMS_COUNTRIES="US,CA")

    assert found["TwilioMMS"]["COUNTRIES"] == "US,CA"
    assert "COUNTRIES" not in found["VonageMMS"]


def test_when_a_provider_is_asked_about_messages_belongs_to_it_alone(environment):
    found = providers(env=environment, VONAGESMS_SETTLING_SECONDS="300")

    assert found["VonageSMS"]["SETTLING_SECONDS"] == 300
    assert "SETTLING_SECONDS" not in found["TwilioSMS"]  # it has a default


def test_a_base_url_points_a_provider_elsewhere(environment):
    found = providers(env=environment, TWILIO_BASE_URL="http://127.0.0.1:1")

    assert found["TwilioSMS"]["BASE_URL"] == "http://127.0.0.1:1"


def test_a_simulator_port_points_every_provider_at_the_simulators(environment):
    found = providers(env=environment, PROVIDER_SIMULATOR_PORT="9100", **ACCOUNTS)

    urls = {options.get("BASE_URL", "") for options in found.values()}
    assert urls == {
        "http://127.0.0.1:9101",
        "http://127.0.0.1:9102",
        "http://127.0.0.1:9103/v3/",
        "",
    }
    assert (found["SMTPEmail"]["HOST"], found["SMTPEmail"]["PORT"]) == (
        "127.0.0.1",
        9104,
    )


def test_with_simulators_no_real_credential_is_in_the_settings(environment):
    found = json.dumps(
        providers(env=environment, PROVIDER_SIMULATOR_PORT="9100", **ACCOUNTS)
    )

    assert not [name for name, value in ACCOUNTS.items() if f'"{value}"' in found]


def test_the_cluster_avoids_the_traps_of_its_library(environment):
    cluster = read("Q_CLUSTER", env=environment)["Q_CLUSTER"]

    assert cluster["retry"] > cluster["timeout"]
    assert cluster["queue_limit"] == cluster["bulk"] == 1
    assert cluster["max_attempts"] == 1
    assert cluster["catch_up"] is False
