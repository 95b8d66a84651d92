"""The statistics page: the API's figures as a page, and as CSV for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.http import urlencode

from routing.admin.bases import ReadOnlyAdmin
from routing.admin.statistics_tables import COLUMNS, as_csv, cells, groups
from routing.health.status import accepted_of, latest_attempts
from routing.models import StatisticsEntry
from routing.providers.registry import registry
from routing.rules.charts import Amount, Chart, chart
from routing.rules.figures import (
    NOTHING,
    delivery_rate,
    figures,
    spending,
    success_rate,
)
from routing.rules.period import Period, StartsAfterItsEnd
from routing.rules.tally import Tally, day_of
from routing.statistics.reports import StatisticsReport, statistics_report
from routing.vocabulary import (
    AttemptOutcome,
    Channel,
    ChoiceEnum,
    FallbackReason,
    MessageStatus,
)

PRESETS = (("Today", 1), ("7 days", 7), ("30 days", 30), ("90 days", 90))
# Sending is not counted: it is a state of the moment, not of a day.
REACHED = [status for status in MessageStatus if status != MessageStatus.SENDING]
MOST_BARS = 92  # more are too thin to point at


class DayField(forms.DateField):
    """A day in UTC, in ISO 8601."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            required=False,
            input_formats=["%Y-%m-%d"],
            widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
            error_messages={"invalid": "Enter a date such as 2026-01-31."},
            **kwargs,
        )


class StatisticsForm(forms.Form):
    """The chosen days, and a channel or a provider."""

    start = DayField(label="From")
    end = DayField(label="Until")
    channel = forms.TypedChoiceField(
        required=False,
        choices=[("", "All channels"), *Channel.choices()],
        coerce=lambda value: Channel(int(value)),
        empty_value=None,
    )
    provider = forms.ChoiceField(required=False)

    def __init__(self, data: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(data, **kwargs)
        # A former provider is no longer in MESSAGE_PROVIDERS, but has statistics.
        names = dict.fromkeys([*registry.names(), data.get("provider", "")])
        known = [(name, name) for name in names if name]
        self.fields["provider"] = forms.ChoiceField(
            required=False, choices=[("", "All providers"), *known]
        )

    def clean(self) -> dict[str, Any]:
        """The fields, and the days as a period."""
        named = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        try:
            period = Period.named(*named, today=day_of(timezone.now()))
        except StartsAfterItsEnd as error:
            raise forms.ValidationError({"start": str(error)}) from None
        return self.cleaned_data | {"period": period}

    @property
    def asked(self) -> dict[str, str]:
        """The choices, as in a query string."""
        period: Period = self.cleaned_data["period"]
        query = {"start": f"{period.first}", "end": f"{period.last}"}
        return query | {
            name: self.data[name]
            for name in ("channel", "provider")
            if self.data.get(name)
        }


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table, and the query string that shows only this line."""

    label: str
    query: str
    cells: list[str]


@admin.register(StatisticsEntry)
class StatisticsAdmin(ReadOnlyAdmin):
    """One page instead of the list: a single entry means nothing."""

    def get_urls(self) -> list[Any]:
        """Only the page."""
        name = "routing_statisticsentry_changelist"
        return [path("", self.admin_site.admin_view(self.changelist_view), name=name)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The report as a page, or one side of it as CSV (`?csv=day`)."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        form = StatisticsForm(request.GET.dict())
        context = {
            **self.admin_site.each_context(request),
            "title": "Statistics",
            "opts": self.opts,
            "form": form,
        }
        if not form.is_valid():
            return self._page(request, context, status=400)
        report = _report(form)
        side = request.GET.get("csv", "")
        if side in SIDES:
            return _download(side, form.cleaned_data["period"], report)
        return self._page(request, context | _shown(form, report))

    def _page(
        self, request: HttpRequest, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        template = "admin/routing/statisticsentry/statistics.html"
        return TemplateResponse(request, template, context, status=status)


SIDES = ("channel", "provider", "day")


def _report(form: StatisticsForm) -> StatisticsReport:
    asked = form.cleaned_data
    return statistics_report(
        asked["period"], channel=asked["channel"], provider=asked["provider"]
    )


def _side(report: StatisticsReport, side: str) -> dict[str, Tally]:
    """The tallies of one side, by their labels."""
    match side:
        case "channel":
            by_channel = report.by_channel.items()
            return {Channel(each).label: tally for each, tally in by_channel}
        case "provider":
            return report.by_provider
    return {f"{day}": tally for day, tally in report.by_day.items()}


def _download(side: str, period: Period, report: StatisticsReport) -> HttpResponse:
    name = f"statistics-by-{side}-{period.first}-{period.last}.csv"
    return HttpResponse(
        as_csv(side, _side(report, side)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _shown(form: StatisticsForm, report: StatisticsReport) -> dict[str, Any]:
    period: Period = form.cleaned_data["period"]
    total = figures(report.total)
    return {
        "form": StatisticsForm({**form.data, **form.asked}),
        "period": period,
        "presets": _presets(form),
        "is_empty": not report.total,
        "total": total,
        "nothing": NOTHING,
        "delivery_rate": delivery_rate(report.total),
        "success_rate": success_rate(report.total),
        "accepted_lately": _accepted_lately(form),
        "spending": spending(report.total),
        "statuses": _by_label(REACHED, total["messages"]),
        "outcomes": _by_label(AttemptOutcome, total["outcomes"]),
        "fallbacks": _by_label(FallbackReason, total["fallbacks"]),
        "columns": COLUMNS,
        "groups": list(groups()),
        "tables": list(_tables(form, report)),
        "chart": _chart(period, report),
    }


def _accepted_lately(form: StatisticsForm) -> str:
    """Of the last minutes, beside figures that include today; otherwise blank."""
    asked, now = form.cleaned_data, timezone.now()
    if asked["period"].last < day_of(now):
        return ""
    return accepted_of(
        [
            each
            for each in latest_attempts(now=now)
            if asked["channel"] in (None, each.channel)
            and asked["provider"] in ("", each.provider)
        ]
    )


def _by_label(
    terms: Iterable[ChoiceEnum], counts: Mapping[str, int]
) -> list[tuple[str, int]]:
    return [(term.label, counts[term.name.lower()]) for term in terms]


def _presets(form: StatisticsForm) -> list[tuple[str, str]]:
    today = day_of(timezone.now())
    days = {label: today - timedelta(days=count - 1) for label, count in PRESETS}
    return [
        (label, urlencode(form.asked | {"start": f"{first}", "end": f"{today}"}))
        for label, first in days.items()
    ]


def _tables(
    form: StatisticsForm, report: StatisticsReport
) -> Iterator[tuple[str, str, list[Row]]]:
    """Title, query of the download, and lines of each side; the latest day first."""
    for side in SIDES:
        rows = [
            Row(label, urlencode(form.asked | query), cells(tally))
            for (label, tally), query in zip(
                _side(report, side).items(), _queries(report, side), strict=True
            )
        ]
        rows = rows[::-1] if side == "day" else rows
        yield side, urlencode(form.asked | {"csv": side}), rows


def _queries(report: StatisticsReport, side: str) -> list[dict[str, Any]]:
    """For each line, the query that shows only this line."""
    match side:
        case "channel":
            return [{"channel": each} for each in report.by_channel]
        case "provider":
            return [{"provider": each} for each in report.by_provider]
    return [{"start": day, "end": day} for day in report.by_day]


def _chart(period: Period, report: StatisticsReport) -> Chart | None:
    days = [
        period.first + timedelta(days=each)
        for each in range(min(MOST_BARS, (period.last - period.first).days) + 1)
    ]
    if not 1 < len(days) <= MOST_BARS:
        return None
    return chart([_amount(day, report.by_day) for day in days], of="attempts")


def _amount(day: date, by_day: Mapping[date, Tally]) -> Amount:
    tally = by_day.get(day, Tally())
    accepted = tally.outcome(AttemptOutcome.ACCEPTED)
    return Amount(f"{day}", tally.attempts, tally.attempts - accepted)
