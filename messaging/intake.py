"""Taking messages in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.db.models import Field, JSONField

from messaging.models import CampaignMessage
from messaging.standing import count_audience, count_taken_in
from routing.statistics import keep
from routing.tally import TallySheet

# Lines that COPY is handed at once; an e-mail may have 262,144 letters.
BLOCK = 100

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_SPECIAL = re.compile(r"[\\\t\n\r]")


class Own(NamedTuple):
    """What a message of an audience does not share with the others."""

    recipient: str
    country: str
    subject: str
    body: str
    segments: int

    def escaped(self) -> dict[str, str | int]:
        """By column, for COPY."""
        return {
            "recipient": _escaped(self.recipient),
            "country": self.country,
            "subject": _escaped(self.subject),
            "body": _escaped(self.body),
            "segments": self.segments,
        }


def take_in(messages: Sequence[CampaignMessage]) -> None:
    """Queue new messages, and count them."""
    sheet = TallySheet()
    with transaction.atomic():
        count_taken_in(sheet, CampaignMessage.objects.bulk_create(messages))
        keep(sheet)


def take_in_audience(shared: CampaignMessage, owns: Sequence[Own]) -> None:
    """The same for many that differ in what is their own; nobody asks for their ids."""
    if connection.vendor != "postgresql":
        take_in([_message(shared, own) for own in owns])
        return
    sheet = TallySheet()
    with transaction.atomic():
        _copy(shared, owns)
        count_audience(sheet, shared, len(owns))
        keep(sheet)


def _message(shared: CampaignMessage, own: Own) -> CampaignMessage:
    values = {field.attname: getattr(shared, field.attname) for field in _fields()}
    return CampaignMessage(**values | own._asdict())


def _copy(shared: CampaignMessage, owns: Sequence[Own]) -> None:
    """Insert by COPY, at a fraction of the processor time of `bulk_create`.

    What all have in common is written down once.
    """
    line = "\t".join(_column(field, shared) for field in _fields()) + "\n"
    names = ", ".join(field.column for field in _fields() if field.column)
    table = CampaignMessage._meta.db_table
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy(f"COPY {table} ({names}) FROM STDIN") as rows,
    ):
        for start in range(0, len(owns), BLOCK):
            block = owns[start : start + BLOCK]
            rows.write("".join([line % own.escaped() for own in block]))


def _fields() -> list[Field[Any, Any]]:
    fields = CampaignMessage._meta.concrete_fields
    return [field for field in fields if not field.primary_key]


def _column(field: Field[Any, Any], shared: CampaignMessage) -> str:
    """A column of the line: a place to fill, or the value that is the same for all.

    Sets what is set on creation.
    """
    if field.name in Own._fields:
        return f"%({field.name})s"
    value = field.pre_save(shared, add=True)
    if value is None:
        return r"\N"
    if isinstance(field, JSONField):
        value = json.dumps(value)
    text = str(int(value) if isinstance(value, IntEnum) else value)
    return _escaped(text).replace("%", "%%")


def _escaped(text: str) -> str:
    """As the text format of COPY wants it, where a backslash begins an escape."""
    return text.translate(_ESCAPES) if _SPECIAL.search(text) else text
