"""A campaign's text as each recipient reads it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from messaging.rules.content import (
    ContentError,
    check_body,
    check_length,
    check_subject,
    check_subject_length,
)
from messaging.rules.merge_fields import (
    UNSUBSCRIBE_FIELD,
    Template,
    braced,
    is_blank,
    own_fields,
    stored_body,
)
from routing.text.segments import count_segments
from routing.vocabulary import CampaignKind, Channel


class Text(Protocol):
    """A campaign, or one that is not stored yet."""

    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> str: ...
    @property
    def terms(self) -> tuple[Channel, CampaignKind]: ...


# What one recipient reads: the subject and the stored body (blank if it is the same for
# all), its segments, and the fields that stay blank because a value is missing. A plain
# tuple, because one is made for every row of a file.
Words = tuple[str, str, int, Sequence[str]]


class Wording:
    """A campaign's text, parsed once; ContentError if a `{{` in it is not a field."""

    def __init__(self, text: Text, *, reject_blank: bool = False) -> None:
        self._text = text
        self._reject_blank = reject_blank
        self.channel, kind = text.terms
        self.own = own_fields(self.channel, kind)
        self.body = Template(text.body, self.own)
        self.subject = Template(text.subject)
        self.wanted = frozenset([*self.subject.wanted, *self.body.wanted])
        if not self.subject.fields:
            check_subject(self.channel, text.subject)
        self._is_one_for_all = self.body.is_plain and self.subject.is_plain
        self._for_all: Words | None = None

    def to(self, values: Mapping[str, str]) -> Words:
        """What the recipient with these values reads; ContentError if that cannot be
        sent. The length is checked before the text is made: a field may occur 500 times
        in a text, and its value may have 10,000 characters.
        """
        if not self.wanted <= values.keys():
            raise ContentError(f"it has no value for {braced(self._missing(values))}")
        if self._is_one_for_all and not values.get(UNSUBSCRIBE_FIELD):
            return self._for_all or self._same_for_all()
        texts = self.body.texts(values)
        check_length(self.channel, self.body.length(texts))
        written = self.body.fill(texts)
        check_body(self.channel, written)
        body = stored_body(self.body, values, written) if self.own else written
        return (
            self._subject(values) if self.subject.fields else "",
            body if body != self._text.body else "",
            count_segments(written) if self.channel == Channel.SMS else 1,
            self._blanks(values) if self.wanted else (),
        )

    def _same_for_all(self) -> Words:
        body = self._text.body
        check_length(self.channel, self.body.length(self.body.texts({})))
        check_body(self.channel, body)
        segments = count_segments(body) if self.channel == Channel.SMS else 1
        self._for_all = ("", "", segments, ())
        return self._for_all

    def _subject(self, values: Mapping[str, str]) -> str:
        texts = self.subject.texts(values)
        check_subject_length(self.subject.length(texts))
        subject = self.subject.fill(texts)
        check_subject(self.channel, subject)
        return subject if subject != self._text.subject else ""

    def _blanks(self, values: Mapping[str, str]) -> Sequence[str]:
        blanks = [name for name in self.wanted if is_blank(values[name])]
        if blanks and self._reject_blank:
            raise ContentError(f"its {min(blanks)} is blank")
        return blanks

    def _missing(self, values: Mapping[str, str]) -> str:
        return next(
            name
            for name in [*self.subject.wanted, *self.body.wanted]
            if name not in values
        )
