"""Problems with sending, for the doctor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.db import connection
from django.db.models import Count, Max

from marketing_platform.diagnosis.findings import (
    Check,
    Finding,
    fail,
    ok,
    span,
    warn,
)
from messaging.models import (
    BulkJob,
    Campaign,
    CampaignMessage,
    ClusterHeartbeat,
    WorkerHeartbeat,
)
from messaging.queue.coordination import clock_skew
from messaging.queue.look_ups import can_be_asked_about
from messaging.queue_status import awaiting_verdicts, count_held
from messaging.vocabulary import JobState
from routing.decision.readiness import (
    Detour,
    current_detours,
    current_outages,
    outage_sentences,
)
from routing.health.breakers import describe_breaker
from routing.health.pauses import pauses_in_force
from routing.look_ups import providers_to_ask
from routing.models import DeliveryReceipt, MessageDeliveryAttempt, ProviderHealth
from routing.rules.breaker import BreakerState
from routing.rules.pause import describe as describe_pause
from routing.vocabulary import Channel, ErrorClass

SILENT_WITHIN = timedelta(hours=1)  # after that, a cluster was taken out of service
SKEW_LIMIT = timedelta(seconds=2)
SWEPT_WITHIN = timedelta(minutes=1)  # workers check for expired leases every second
RESUME = (
    "Messages go to other providers, or wait. Resume it when the reason is gone: "
    "`manage.py providers resume NAME --reason ...`, or in the back office."
)
DAY, WEEK = timedelta(days=1), timedelta(days=7)
# Limits what a check reads, however many attempts or receipts a day has.
LATEST_ATTEMPTS = 100_000


def cluster(now: datetime) -> Finding:
    """Whether clusters are alive, and have a watchdog."""
    known = ClusterHeartbeat.objects.filter(beat_at__gt=now - SILENT_WITHIN)
    alive = known.alive(now)
    if silent := known.exclude(pk__in=alive.values("pk")).first():
        return fail(
            f"{silent} has shown no sign of life for {span(now - silent.beat_at)}.",
            "Restart it, unless you have stopped it. `manage.py run_cluster` restarts "
            "by itself.",
        )
    if unwatched := alive.filter(is_watched=False).first():
        return warn(
            f"{unwatched} has no watchdog: one killed worker may stop it for good.",
            "Start it with `python manage.py run_cluster` instead of `qcluster`.",
        )
    return ok(f"Clusters alive, each with its watchdog: {alive.count()}.")


def one_writer(now: datetime) -> Finding:
    """Whether workers block each other, as on SQLite."""
    count = WorkerHeartbeat.objects.alive(now).count()
    if connection.vendor == "sqlite" and count > 1:
        return warn(
            f"{count} workers share a SQLite database, which allows one writer at a "
            "time: they wait for each other.",
            "Run one worker, or move to PostgreSQL (DATABASE_URL).",
        )
    return ok("Workers do not block each other.")


def workers_aside(now: datetime) -> Finding:
    """Whether workers claim nothing because their hosts do not reach the providers."""
    troubled = WorkerHeartbeat.objects.alive(now).exclude(trouble="")
    if found := [f"{each} ({each.trouble})" for each in troubled[:10]]:
        return warn(
            f"Workers stand aside: {'; '.join(found)}.",
            "Their hosts cannot call providers: check DNS, routes, firewalls, limits "
            "(ulimit -n). They try again by themselves, at least once a minute.",
        )
    return ok("No worker stands aside.")


def clocks(now: datetime) -> Finding:
    """Whether this host and those of the workers agree with the database."""
    skews = {"this host": clock_skew()}
    for worker in WorkerHeartbeat.objects.alive(now):
        skews[worker.host] = worker.clock_skew
    host, skew = max(skews.items(), key=lambda each: abs(each[1]))
    if abs(skew) > SKEW_LIMIT:
        return warn(
            f"The clock of {host} is {skew.total_seconds():+.1f} s off the database's.",
            "Synchronize both with the same time servers (chrony, systemd-timesyncd).",
        )
    return ok("All clocks agree with the database's.")


def leases(now: datetime) -> Finding:
    """Whether messages of lost workers are recovered."""
    wait = timedelta(seconds=settings.QUEUE_VERDICT_SECONDS)
    expired = CampaignMessage.objects.lease_expired(now - SWEPT_WITHIN)
    # Look-ups have a pace of their own.
    asked_about = can_be_asked_about(now - wait, providers_to_ask())
    if stuck := expired.exclude(asked_about).count():
        return fail(
            f"Messages whose lease ran out over {span(SWEPT_WITHIN)} ago: {stuck}. "
            "A running worker would have recovered them.",
            "Start a worker: `python manage.py run_cluster`.",
        )
    return ok("No expired lease is left unrecovered.")


def unknown_outcomes(now: datetime) -> Finding:
    """Messages that may have been sent, and wait for a verdict."""
    if found := awaiting_verdicts(now=now):
        said = "; ".join(each.described(now=now) for each in found)
        return warn(
            f"{said}.",
            "Receipts and look-ups settle most before. To settle them yourself, choose "
            "them in the list of messages, or use `manage.py settle_unknown --provider "
            f"{found[0].provider}`. If there are more and more, check that the "
            "provider's receipts reach PUBLIC_URL/webhooks/.",
        )
    return ok("No message in flight has an unknown outcome.")


def quarantine(now: datetime) -> Finding:
    """Messages taken out of the queue because they crashed their workers."""
    count = CampaignMessage.objects.quarantined().count()
    if count:
        return warn(
            f"Messages in quarantine: {count}.",
            "See the reason on each at /admin/messaging/campaignmessage/, and the "
            "error in the workers' log.",
        )
    return ok("No message is in quarantine.")


def unmapped_errors(now: datetime) -> Finding:
    """Error codes in answers and receipts of providers that our tables lack."""
    if codes := _codes_of(ErrorClass.UNMAPPED, now):
        return warn(
            f"Messages failed today with unknown error codes: {codes}.",
            "Refused ones went to another provider if there was one. Look up the codes "
            "at the provider, and add them to its table in routing/providers/.",
        )
    return ok("Providers gave no unknown error code in the last day.")


def account_errors(now: datetime) -> Finding:
    """Providers that refuse our credentials, funds or sender."""
    if codes := _codes_of(ErrorClass.ACCOUNT, now):
        return warn(
            f"Providers refused our account today: {codes}.",
            "Check credentials, funds, sender and permissions in the provider's "
            "console; docs/providers.md lists the settings.",
        )
    return ok("No provider has refused our account in the last day.")


def _codes_of(error_class: ErrorClass, now: datetime) -> str:
    """The last day's errors of a class: provider, code and how many."""
    counts: Counter[tuple[str, str]] = Counter()
    for rows, moment in (
        (MessageDeliveryAttempt.objects.order_by(), "attempted_at"),
        (DeliveryReceipt.objects.order_by(), "received_at"),
    ):
        latest = rows.aggregate(latest=Max("pk"))["latest"] or 0
        found = (
            rows.filter(
                pk__gt=latest - LATEST_ATTEMPTS,
                error_class=error_class,
                **{f"{moment}__gt": now - DAY},
            )
            .values_list("provider", "error_code")
            .annotate(count=Count("pk"))
        )
        for name, code, count in found:
            counts[name, code] += count
    return ", ".join(f"{name} {code} ({n})" for (name, code), n in counts.items())


def possible_duplicates(now: datetime) -> Finding:
    """Messages that may have reached their recipient twice in the last days."""
    lately = CampaignMessage.objects.filter(double_risk_at__gt=now - WEEK)
    if count := lately.count():
        return warn(
            f"Possible duplicates in the last seven days: {count}.",
            "They cannot be undone. Each message shows which attempts got through; if "
            "there are more and more, let the route wait for unknown outcomes.",
        )
    return ok("No possible duplicates in the last seven days.")


def outages(now: datetime) -> Finding:
    """Kinds of messages that wait because their providers fail or are paused."""
    found = {
        terms: each
        for terms, each in current_outages(now=now).items()
        if each.is_failure or each.is_paused
    }
    if not found:
        return ok("No channel is on hold.")
    sentences = dict.fromkeys(outage_sentences(found, now=now).values())
    waiting = count_held(found, now=now)
    if not any(each.is_failure for each in found.values()):
        return warn(f"{' '.join(sentences)} {waiting} due messages wait.", RESUME)
    return fail(
        f"{' '.join(sentences)} {waiting} due messages wait.",
        "They use up no retries, and leave by themselves once a provider accepts "
        "messages again. Check the last errors and the providers' status pages; "
        "problems with credentials and funds need a person.",
    )


def paused_providers(now: datetime) -> Finding:
    """Providers that a person keeps all messages away from."""
    if paused := pauses_in_force(now=now):
        detours = {name: f"{x}" for (name, _), x in current_detours(now=now).items()}
        said = [
            "; ".join(
                filter(None, [f"{name} is {describe_pause(each, now)}", detours[name]])
            )
            for name, each in sorted(paused.items())
            if name in detours  # not if it has left MESSAGE_PROVIDERS
        ]
        return warn(f"{'. '.join(said)}.", RESUME)
    return ok("No provider is paused.")


def breakers(now: datetime) -> Finding:
    """Providers that fail: out of use, or kept in use because there is no other."""
    rows = list(ProviderHealth.objects.all())
    failing = [row for row in rows if row.breaker.is_last_way_out]
    out = [row for row in rows if row.state != BreakerState.CLOSED]
    detours = current_detours(now=now)
    also = f" Out of use: {_in_words(out, now, detours)}." if out else ""
    if failing:
        return fail(
            "Providers fail, and no other may be used instead: "
            f"{_in_words(failing, now)}.{also}",
            "Some calls succeed, so they stay in use; failed messages are tried again "
            "and use up no retries. Check the last errors and the providers' status "
            "pages; add another provider to the route if you have one.",
        )
    if out:
        where = [detours.get((row.provider, Channel(row.channel))) for row in out]
        is_blocked = any(each.is_blocked for each in where if each)
        return (fail if is_blocked else warn)(
            f"Providers out of use: {_in_words(out, now, detours)}.",
            "A provider comes back by itself once it accepts messages again. Problems "
            "with credentials and funds need a person: see the provider's console.",
        )
    return ok("All providers are in use.")


Detours = Mapping[tuple[str, Channel], Detour]


def _in_words(
    rows: Iterable[ProviderHealth], now: datetime, detours: Detours | None = None
) -> str:
    """Each with its state, and where its traffic goes."""
    said = []
    for row in rows:
        detour = (detours or {}).get((row.provider, Channel(row.channel)))
        state = describe_breaker(row.breaker, now)
        where = "; ".join(filter(None, [state, f"{detour or ''}"]))
        said.append(f"{row.provider} on {row.get_channel_display()}: {where}")
    return "; ".join(said)


def paused_campaigns(now: datetime) -> Finding:
    """Paused campaigns that hold messages back."""
    paused = Campaign.objects.paused().holding_due_messages(now)
    if names := list(paused.values_list("name", flat=True)[:10]):
        return warn(
            f"Paused campaigns with messages due: {', '.join(names)}.",
            "Resume or cancel them at /admin/messaging/campaign/.",
        )
    return ok("No paused campaign has messages due.")


JOB_WAITS_AT_MOST = timedelta(minutes=5)


def bulk_jobs(now: datetime) -> Finding:
    """Jobs that failed today, or that no worker has begun."""
    failed = BulkJob.objects.filter(state=JobState.FAILED)
    late = BulkJob.objects.filter(state=JobState.WAITING)
    found = [
        *failed.filter(finished_at__gt=now - timedelta(days=1))[:5],
        *late.filter(asked_at__lt=now - JOB_WAITS_AT_MOST)[:5],
    ]
    if not found:
        return ok("No bulk job failed, and none waits.")
    told = [f"{job.pk} ({job}): {job.error or 'not begun'}" for job in found]
    return warn(
        f"Bulk jobs that failed, or wait for a worker: {'; '.join(told)}.",
        "Look at them at /admin/messaging/bulkjob/. Start a worker, or ask again for "
        "what is left.",
    )


DELIVERY: dict[str, Check] = {
    check.__name__: check
    for check in (
        cluster,
        one_writer,
        workers_aside,
        clocks,
        leases,
        unknown_outcomes,
        quarantine,
        unmapped_errors,
        account_errors,
        possible_duplicates,
        outages,
        breakers,
        paused_providers,
        paused_campaigns,
        bulk_jobs,
    )
}
