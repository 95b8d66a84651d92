"""What a campaign says to each of its recipients. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from messaging.content import (
    ContentError,
    check_body,
    check_length,
    check_subject,
    check_subject_length,
)
from messaging.merge_fields import (
    UNSUBSCRIBE_FIELD,
    Template,
    braced,
    own_fields,
    stored_body,
)
from routing.segments import count_segments
from routing.vocabulary import CampaignKind, Channel


class Text(Protocol):
    """A campaign, or one to be."""

    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def terms(self) -> tuple[Channel, CampaignKind]: ...


class Words(NamedTuple):
    """What one recipient reads; blank: what all read."""

    subject: str
    body: str  # as it is stored
    segments: int
    blanks: Sequence[str] = ()  # fields that stay empty for want of a value


class Wording:
    """A campaign's text, parsed once; ContentError when a `{{` in it is no field."""

    def __init__(self, text: Text, *, reject_blank: bool = False) -> None:
        self._text = text
        self._reject_blank = reject_blank
        self.channel, kind = text.terms
        self.own = own_fields(self.channel, kind)
        self.body = Template(text.body, self.own)
        self.subject = Template(text.subject)
        self.wanted = frozenset([*self.subject.wanted, *self.body.wanted])
        self._shared: Words | None = None

    def to(self, values: Mapping[str, str]) -> Words:
        """What the recipient with these values reads; ContentError if that cannot be
        sent. How long it gets is known before it is made: a field may stand in a text
        500 times, and its value have 10,000 letters.
        """
        if not self.wanted <= values.keys():
            raise ContentError(f"it has no value for {braced(self._lacking(values))}")
        if self._is_the_same_for_all(values):
            return self._for_all()
        subject = self._subject(values)
        body, written = self._body(values)
        return Words(
            subject=subject if subject != self._text.subject else "",
            body=body if body != self._text.body else "",
            segments=self._segments(written),
            blanks=self._blanks(values),
        )

    def _is_the_same_for_all(self, values: Mapping[str, str]) -> bool:
        return (
            self.body.is_plain
            and self.subject.is_plain
            and not (self.body.fields and values.get(UNSUBSCRIBE_FIELD))
        )

    def _for_all(self) -> Words:
        if self._shared is None:
            check_length(self.channel, self.body.length(self.body.texts({})))
            check_body(self.channel, self._text.body)
            check_subject(self.channel, self._text.subject)
            self._shared = Words("", "", self._segments(self._text.body))
        return self._shared

    def _subject(self, values: Mapping[str, str]) -> str:
        texts = self.subject.texts(values)
        check_subject_length(self.subject.length(texts))
        subject = self.subject.fill(texts)
        check_subject(self.channel, subject)
        return subject

    def _body(self, values: Mapping[str, str]) -> tuple[str, str]:
        """As it is stored, and as it is read."""
        texts = self.body.texts(values)
        check_length(self.channel, self.body.length(texts))
        written = self.body.fill(texts)
        check_body(self.channel, written)
        stored = stored_body(self.body, values, written) if self.own else written
        return stored, written

    def _segments(self, body: str) -> int:
        return count_segments(body) if self.channel == Channel.SMS else 1

    def _blanks(self, values: Mapping[str, str]) -> list[str]:
        blanks = [name for name in self.wanted if not values[name]]
        if blanks and self._reject_blank:
            raise ContentError(f"its {min(blanks)} is blank")
        return blanks

    def _lacking(self, values: Mapping[str, str]) -> str:
        return next(
            name
            for name in [*self.subject.wanted, *self.body.wanted]
            if name not in values
        )
