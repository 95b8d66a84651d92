"""The back office of routing."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import NON_FIELD_ERRORS
from django.urls import reverse
from django.utils import timezone

from messaging.factories import MessageFactory
from routing.admin.bases import BoundedPaginator
from routing.factories import AttemptFactory, ReceiptFactory, RouteFactory
from routing.models import (
    ChannelRoutingConfig,
    DeliveryQuality,
    DeliveryReceipt,
    MessageDeliveryAttempt,
    ProviderHealth,
)
from routing.strategies import STRATEGIES
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ErrorClass,
    RetryStrategy,
)

NOW = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MEMORY = "routing.providers.memory.Memory"
ADD = "admin:routing_channelroutingconfig_add"
EVIDENCE = ["messagedeliveryattempt", "deliveryreceipt"]
FORM = {
    "channel": 0,
    "is_active": "on",
    "priority": 1,
    "routing_strategy": 0,
    "primary_provider": "TwilioSMS",
    "primary_weight": 1,
    "fallback_provider": "VonageSMS",
    "fallback_weight": 1,
    "enable_fallback": "on",
    "currency": "USD",
    "further_providers-TOTAL_FORMS": 0,
    "further_providers-INITIAL_FORMS": 0,
    "max_retries": 3,
    "retry_strategy": 2,
    "initial_retry_delay_seconds": 60,
    "max_retry_delay_seconds": 3600,
    "custom_retry_policy": "",
    "unknown_outcome_policy": 0,
}


def never(history):
    """A retry policy to choose in a form."""


@pytest.fixture(autouse=True)
def providers(settings):
    """Three providers, kept in memory, and a retry policy."""
    settings.RETRY_POLICIES = [f"{__name__}.never"]
    settings.MESSAGE_PROVIDERS = {
        "TwilioSMS": {"BACKEND": f"{MEMORY}SMS"},
        "VonageSMS": {"BACKEND": f"{MEMORY}SMS"},
        "Mail": {"BACKEND": f"{MEMORY}Email"},
    }


@pytest.fixture
def evidence(db):
    """An attempt and a receipt, by the name of their model."""
    message = MessageFactory()
    attempt = MessageDeliveryAttempt.objects.create(
        message=message,
        attempt_number=1,
        channel=Channel.SMS,
        provider="TwilioSMS",
        attempted_at=NOW,
        outcome=AttemptOutcome.REJECTED,
        error_class=ErrorClass.PROVIDER,
        cost=Decimal("0.0079"),
        currency="USD",
        decision={"strategy": "Primary", "candidates": []},
    )
    receipt = DeliveryReceipt.objects.create(
        provider="TwilioSMS",
        event_id="1",
        message=message,
        provider_status="delivered",
        received_at=NOW,
        raw="<script>alert(1)</script>",
    )
    return {"messagedeliveryattempt": attempt, "deliveryreceipt": receipt}


@pytest.fixture
def viewer_client(client, django_user_model):
    """A user who may view everything and change nothing."""
    viewer = django_user_model.objects.create_user("viewer", is_staff=True)
    viewer.user_permissions.set(
        Permission.objects.filter(
            codename__startswith="view_", content_type__app_label="routing"
        )
    )
    client.force_login(viewer)
    return client


@pytest.fixture(params=["admin_client", "viewer_client"])
def reader_client(request):
    """An administrator, then a user who may only view."""
    return request.getfixturevalue(request.param)


def page(model, name="changelist", *arguments):
    return reverse(f"admin:routing_{model}_{name}", args=arguments)


def choices_of(response, field):
    form = response.context["adminform"].form
    return [value for value, _ in form.fields[field].choices if value != ""]


def errors_of(response):
    """The form's errors, by field; NON_FIELD_ERRORS for the whole form."""
    assert response.status_code == 200, "it was saved"
    return response.context["adminform"].form.errors


def test_every_route_page_opens_for_readers(reader_client):
    route = RouteFactory()

    model = "channelroutingconfig"
    for url in [
        page(model),
        page(model, "change", route.pk),
        page(model, "history", route.pk),
    ]:
        assert reader_client.get(url).status_code == 200


@pytest.mark.parametrize("model", EVIDENCE)
def test_every_page_of_evidence_opens_for_readers(reader_client, evidence, model):
    row = evidence[model]

    assert reader_client.get(page(model)).status_code == 200
    response = reader_client.get(page(model, "change", row.pk))

    assert response.status_code == 200
    assert "<script>alert(1)" not in response.text


@pytest.mark.parametrize("model", EVIDENCE)
@pytest.mark.parametrize(
    "query",
    ["q=1", "q=SM-unknown", "provider=TwilioSMS", "provider=gone", "provider=%00"],
)
def test_evidence_can_be_searched_and_filtered(admin_client, evidence, model, query):
    assert admin_client.get(f"{page(model)}?{query}").status_code == 200


@pytest.mark.parametrize("model", EVIDENCE)
def test_the_provider_filter_finds_its_rows(admin_client, evidence, model):
    ours = admin_client.get(f"{page(model)}?provider=TwilioSMS")
    others = admin_client.get(f"{page(model)}?provider=VonageSMS")

    assert ours.context["cl"].result_count == 1
    assert others.context["cl"].result_count == 0


@pytest.mark.parametrize("model", EVIDENCE)
def test_not_even_an_administrator_changes_evidence(admin_client, evidence, model):
    row = evidence[model]
    shown = admin_client.get(page(model, "change", row.pk))

    assert admin_client.get(page(model, "add")).status_code == 403
    assert admin_client.post(page(model, "change", row.pk), {}).status_code == 403
    assert admin_client.post(page(model, "delete", row.pk), {}).status_code == 403
    assert not shown.context["show_save"]
    assert not shown.context["show_delete_link"]


@pytest.mark.parametrize("model", EVIDENCE)
def test_evidence_cannot_be_deleted_by_an_action(admin_client, evidence, model):
    form = {"action": "delete_selected", "_selected_action": [evidence[model].pk]}

    admin_client.post(page(model), form)

    evidence[model].refresh_from_db()


def test_the_form_offers_each_provider_with_its_channel(admin_client):
    response = admin_client.get(reverse(ADD))

    assert choices_of(response, "primary_provider") == [
        "TwilioSMS",
        "VonageSMS",
        "Mail",
    ]
    assert choices_of(response, "fallback_provider") == [
        "TwilioSMS",
        "VonageSMS",
        "Mail",
    ]
    assert "VonageSMS (SMS)" in response.text
    assert "Mail (Email)" in response.text


def test_the_form_offers_only_strategies_that_there_are(admin_client):
    response = admin_client.get(reverse(ADD))

    assert choices_of(response, "routing_strategy") == list(STRATEGIES)


def test_the_form_keeps_a_provider_that_is_gone_in_sight(admin_client):
    route = RouteFactory(primary_provider="OldSMS")

    response = admin_client.get(page("channelroutingconfig", "change", route.pk))

    assert "OldSMS (not in MESSAGE_PROVIDERS)" in response.text


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"fallback_provider": "", "enable_fallback": ""},
        {
            "channel": 2,
            "primary_provider": "Mail",
            "fallback_provider": "",
            "enable_fallback": "",
        },
        {"routing_strategy": 1},
        {"retry_strategy": 0},
        {"retry_strategy": 3, "custom_retry_policy": f"{__name__}.never"},
        {"initial_retry_delay_seconds": 0, "max_retry_delay_seconds": 0},
    ],
)
def test_a_sound_route_is_saved_and_can_be_used(admin_client, changes):
    response = admin_client.post(reverse(ADD), FORM | changes)

    assert response.status_code == 302
    route = ChannelRoutingConfig.objects.get().as_route()
    assert route.providers[0] == (FORM | changes)["primary_provider"]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        (
            {"primary_provider": "Mail"},
            "primary_provider",
            "Mail does not carry SMS. Those that do: TwilioSMS, VonageSMS.",
        ),
        (
            {"fallback_provider": "Mail"},
            "fallback_provider",
            "Mail does not carry SMS. Those that do: TwilioSMS, VonageSMS.",
        ),
        ({"primary_provider": ""}, "primary_provider", "This field is required."),
        (
            {"primary_provider": "Nobody"},
            "primary_provider",
            "Select a valid choice. Nobody is not one of the available choices.",
        ),
        (
            {"routing_strategy": 99},
            "routing_strategy",
            "Select a valid choice. 99 is not one of the available choices.",
        ),
        (
            {"fallback_provider": "TwilioSMS"},
            NON_FIELD_ERRORS,
            "The fallback provider is the primary one: choose another.",
        ),
        (
            {"fallback_provider": ""},
            NON_FIELD_ERRORS,
            "Fallback is enabled: choose the provider to fall back to, or disable it.",
        ),
        (
            {"max_retry_delay_seconds": 59},
            NON_FIELD_ERRORS,
            "The maximum retry delay is below the initial one.",
        ),
        (
            {"retry_strategy": RetryStrategy.CUSTOM.value},
            NON_FIELD_ERRORS,
            "The Custom retry strategy, and only that, takes the dotted path of a "
            "policy.",
        ),
        (
            {"custom_retry_policy": f"{__name__}.never"},
            NON_FIELD_ERRORS,
            "The Custom retry strategy, and only that, takes the dotted path of a "
            "policy.",
        ),
    ],
)
def test_a_route_that_cannot_work_is_refused_with_the_reason(
    admin_client, changes, field, says
):
    response = admin_client.post(reverse(ADD), FORM | changes)

    assert errors_of(response) == {field: [says]}
    assert not ChannelRoutingConfig.objects.exists()


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("nodots", "cannot be imported: nodots doesn't look like a module path."),
        ("no.such", "cannot be imported: No module named 'no'."),
        (".policy", "cannot be imported: "),
        ("..policy", "cannot be imported: "),
        (f"{__name__}.absent", "cannot be imported: Module "),
        (f"{__name__}.NOW", "must be callable with the history."),
    ],
)
def test_a_retry_policy_that_cannot_be_used_is_refused(
    admin_client, settings, path, says
):
    settings.RETRY_POLICIES = [path]
    custom = {"retry_strategy": 3, "custom_retry_policy": path}

    response = admin_client.post(reverse(ADD), FORM | custom)

    (message,) = errors_of(response)["custom_retry_policy"]
    assert message.startswith(f"{path!r} {says}")


def test_two_active_routes_of_a_channel_need_different_priorities(admin_client):
    RouteFactory(priority=1)

    response = admin_client.post(reverse(ADD), FORM)

    (message,) = errors_of(response)[NON_FIELD_ERRORS]
    assert message.startswith("Another active route of this channel has")
    assert "or deactivate the other route." in message


@pytest.mark.parametrize("changes", [{"priority": 2}, {"is_active": ""}])
def test_a_second_route_of_a_channel_may_wait_behind_the_first(admin_client, changes):
    RouteFactory(priority=1)

    response = admin_client.post(reverse(ADD), FORM | changes)

    assert response.status_code == 302


def test_a_viewer_cannot_change_routes(viewer_client):
    route = RouteFactory()
    model = "channelroutingconfig"

    for url in [page(model, "add"), page(model, "change", route.pk)]:
        assert viewer_client.post(url, FORM).status_code == 403
    assert viewer_client.post(page(model, "delete", route.pk)).status_code == 403


EXPLAIN = {"channel": 0, "to": "+4915112345678", "kind": 0, "body": "Hello"}


def explain(client, **fields):
    return client.get(reverse("admin:routing_explain"), EXPLAIN | fields)


def test_a_reader_sees_which_way_a_message_would_take(reader_client):
    RouteFactory()

    page = explain(reader_client).content.decode()

    assert "TwilioSMS is the choice of Primary." in page
    assert "<th>VonageSMS</th>" in page
    assert "in use" in page


def test_an_explanation_tells_delivery_rates_in_words(reader_client):
    RouteFactory()
    DeliveryQuality.objects.create(
        provider="TwilioSMS",
        channel=0,
        successes=190,
        failures=10,
        updated_at=timezone.now(),
    )

    assert re.search(
        r"<td>9\d\.\d % of about \d+ messages</td>", explain(reader_client).text
    )


def test_a_link_to_an_explanation_may_leave_the_kind_of_campaign_out(reader_client):
    RouteFactory()

    page = reader_client.get(
        reverse("admin:routing_explain"), {"channel": 0, "to": "+4915112345678"}
    ).content.decode()

    assert "TwilioSMS is the choice of Primary." in page


def test_the_list_of_routes_says_which_messages_each_is_for(reader_client):
    RouteFactory(country="DE", dial_prefix="49151", campaign_kind=1)

    routes = reader_client.get(page("channelroutingconfig")).content.decode()

    assert "DE, +49151, Transactional" in routes


def test_delivery_quality_is_a_share_and_what_it_rests_on(reader_client):
    DeliveryQuality.objects.create(
        provider="TwilioSMS", channel=0, successes=6.83, failures=0.17, updated_at=NOW
    )

    listed = reader_client.get(page("deliveryquality")).content.decode()

    assert "97.6 %" in listed
    assert '<td class="field-receipts">7</td>' in listed


def test_times_are_told_to_the_second(reader_client):
    DeliveryQuality.objects.create(provider="TwilioSMS", channel=0, updated_at=NOW)

    listed = reader_client.get(page("deliveryquality")).content.decode()

    assert "2026-11-24 09:00:00" in listed


def test_the_routes_page_leads_to_the_explanation(reader_client):
    routes = reader_client.get(page("channelroutingconfig"))

    assert reverse("admin:routing_explain") in routes.content.decode()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"to": "12"}, "is not a valid phone number"),
        ({"channel": 2, "to": "x"}, "not an e-mail"),
    ],
)
def test_an_address_that_cannot_be_explained_says_why(admin_client, fields, says):
    answer = explain(admin_client, **fields)

    assert answer.status_code == 200
    assert says in answer.content.decode()


def test_who_may_not_see_routes_gets_no_explanation(client, django_user_model):
    client.force_login(django_user_model.objects.create_user("guest", is_staff=True))

    assert explain(client).status_code == 403


@pytest.mark.parametrize(
    ("when", "found"), [("", 2), ("15min", 1), ("7d", 2), ("nonsense", 2)]
)
def test_attempts_are_found_by_how_long_ago_they_were(admin_client, when, found):
    message, now = MessageFactory(), timezone.now()
    AttemptFactory(message=message, attempt_number=1, attempted_at=now)
    AttemptFactory(message=message, attempt_number=2, attempted_at=now - HOUR)

    listed = admin_client.get(page("messagedeliveryattempt"), {"when": when})

    assert listed.context["cl"].result_count == found


def test_a_long_error_is_cut_in_the_list_and_shows_when_pointed_at(admin_client):
    AttemptFactory(
        message=MessageFactory(),
        error_class=ErrorClass.PROVIDER,
        error_code="30001",
        error_message="Queue <b>overflow</b> of this sender, for some hours",
    )

    listed = admin_client.get(page("messagedeliveryattempt")).text

    whole = "Provider 30001: Queue &lt;b&gt;overflow&lt;/b&gt; of this sender, "
    whole += "for some hours"
    assert f'title="{whole}"' in listed
    assert f">{whole}<" not in listed


@pytest.mark.parametrize("model", EVIDENCE)
def test_evidence_leads_to_its_message(admin_client, evidence, model):
    message = evidence[model].message_id

    listed = admin_client.get(page(model)).text

    assert (
        f'/admin/messaging/campaignmessage/{message}/change/">{message}</a>' in listed
    )


def test_a_receipt_of_no_known_message_is_listed_too(admin_client):
    ReceiptFactory(message=None, attempt_number=None)

    assert admin_client.get(page("deliveryreceipt")).status_code == 200


def test_an_attempt_tells_why_it_went_to_its_provider(reader_client):
    attempt = AttemptFactory(
        message=MessageFactory(),
        decision={
            "strategy": "Primary",
            "candidates": [{"provider": "Vonage<SMS>", "verdict": "eligible"}],
        },
    )

    shown = reader_client.get(page("messagedeliveryattempt", "change", attempt.pk)).text

    assert "Primary<ul><li>Vonage&lt;SMS&gt;: eligible</li></ul>" in shown


@pytest.mark.parametrize(
    ("rows", "counted", "is_all"), [(2, 2, True), (3, 3, True), (4, 3, False)]
)
def test_long_lists_are_counted_no_further_than_a_limit(rows, counted, is_all):
    pages = BoundedPaginator(range(rows), per_page=2, at_most=3)

    assert (pages.count, pages.is_all) == (counted, is_all)
    assert pages.num_pages == (counted + 1) // 2


def test_a_list_that_was_not_counted_to_its_end_says_so(admin_client):
    message = MessageFactory()
    MessageDeliveryAttempt.objects.bulk_create(
        AttemptFactory.build(message=message, attempt_number=number)
        for number in range(1, BoundedPaginator.COUNT_AT_MOST + 2)
    )

    listed = admin_client.get(page("messagedeliveryattempt")).text

    assert "over 10000 delivery attempts" in " ".join(listed.split())


@pytest.mark.parametrize(
    ("model", "title"),
    [("channelroutingconfig", "Routes"), ("providerhealth", "Provider health")],
)
def test_a_list_is_headed_by_what_it_lists(admin_client, model, title):
    assert admin_client.get(page(model)).context["title"] == title


def test_the_health_of_a_provider_is_told_in_words(admin_client):
    now = int(timezone.now().timestamp())
    health = ProviderHealth.objects.create(
        provider="TwilioSMS",
        channel=0,
        buckets=[[now // 10 - 1, 1200, 3], [now // 10, 34, 2]],
        sends=[[now // 2, 50, 4]],
    )

    shown = admin_client.get(page("providerhealth", "change", health.pk)).text

    assert "1,234 succeeded, 5 failed" in shown
    assert "[[" not in shown


def test_the_delivery_quality_of_a_provider_is_told_in_words(admin_client):
    quality = DeliveryQuality.objects.create(
        provider="TwilioSMS",
        channel=0,
        successes=64.79265218049422,
        updated_at=NOW,
        overdue=[[int(NOW.timestamp()), 38]],
    )

    shown = admin_client.get(page("deliveryquality", "change", quality.pk)).text

    assert "38 of 2026-11-24 09:00" in shown
    assert "64.79265" not in shown
    assert "[[" not in shown


def test_a_cost_has_its_currency_and_no_zeros_that_say_nothing(admin_client):
    attempt = AttemptFactory(
        message_id=MessageFactory().pk, cost=Decimal("0.020000"), currency="USD"
    )

    shown = admin_client.get(page("messagedeliveryattempt", "change", attempt.pk)).text

    assert "0.02 USD" in shown
    assert "0.020000" not in shown
