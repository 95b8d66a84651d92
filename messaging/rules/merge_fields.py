"""Merge fields: `{{first_name}}` in a text, filled with a recipient's value.

Pure. No template engine ever sees a user's text. A field is two braces, a name, and an
optional default for a blank value: `{{first_name|there}}`. Any other `{{` is refused,
because every recipient would see it. Values are never parsed for fields.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from messaging.rules.content import ContentError
from routing.csv_files import column_key
from routing.text.invisible import HIDDEN
from routing.vocabulary import CampaignKind, Channel

# Filled when a marketing e-mail leaves, unless its recipient has a value for it.
UNSUBSCRIBE_FIELD = "unsubscribe_url"
FIELD_LIMIT = 500  # per text, because each costs time for every recipient
OWN_LENGTH = 500  # characters allowed for a field of ours
SHOWN = 40  # characters of a name, in errors
COLUMNS_SHOWN = 200  # characters of all column names, in errors

# Every run of two or more braces, with the text up to the next brace.
_TAG = re.compile(r"(\{{2,})([^{}]*)(\}*)")
# Two braces that an editor or a program has separated, widened or encoded.
_BRACE_LIKE = (
    r"(?:[{\uff5b\ufe5b]|%(?:25){0,3}7b|&(?:#0{0,5}123|#x0{0,5}7b|lbrace|lcub);?)"
)
_BRACES_IN_DISGUISE = re.compile(
    rf"{_BRACE_LIKE}[{HIDDEN}]*+{_BRACE_LIKE}", re.IGNORECASE
)
_NOTHING_SEEN = re.compile(rf"[\s{HIDDEN}]*+")
# Template engines' filters; here, text after a bar is a default, and would be sent.
_FILTER = re.compile(
    r"\A\s*+(?:[\"'\u2018\u2019\u201c\u201d]|\w++\s*+[:(]|[^|]*+\||(?:safe|raw|e|escape"
    r"|default|upper|upcase|uppercase|lower|downcase|lowercase|title|titlecase|capfirst"
    r"|capitali[sz]e|trim|strip|striptags|urlencode|html|nl2br)\s*+\Z)",
    re.IGNORECASE,
)
# Fields in the syntax of other systems.
_FOREIGN = re.compile(
    r"\{%[^%{}\n]{0,200}%\}|\*\|[^|*\n]{1,200}\|\*|<%[^%<>\n]{0,200}%>"
    r"|%[A-Za-z_]{1,50}\.[A-Za-z_.]{1,50}%|%%\w{1,50}%%|%[A-Z][A-Z_]{1,50}%"
    r"|\[\[[^\[\]\n]{1,200}\]\]|[$#]?\{ ?\w[\w .-]{0,50}\}\}?"
)
FOREIGN_SHOWN = 5  # in one warning

# A stored body has our own field in one spelling, and braces from values as _BRACE:
# only a field that the author wrote is filled when the message leaves.
_OWN = f"{{{{{UNSUBSCRIBE_FIELD}}}}}"
_BRACE = '{{"{"}}'
_STORED = re.compile(
    rf'\{{\{{(?:\s*+{UNSUBSCRIBE_FIELD}\s*+|("\{{"))\}}\}}', re.IGNORECASE
)


class Field(NamedTuple):
    """A merge field in a text."""

    name: str  # in the form of `column_key`
    default: str | None  # for a blank value; None: no default

    def text(self, values: Mapping[str, str]) -> str:
        """The text that fills it."""
        value = values.get(self.name, "")
        if self.default is not None and is_blank(value):
            return self.default
        return value


def keyed(values: Mapping[str, str]) -> dict[str, str]:
    """Values by the keys of their names; ContentError if two have the same key."""
    found = {column_key(name): text for name, text in values.items()}
    if len(found) < len(values):
        counts = Counter(map(column_key, values))
        raise ContentError(f"it has {braced(counts.most_common(1)[0][0])} twice")
    return found


def own_fields(channel: Channel, kind: CampaignKind) -> list[str]:
    """The fields of a body that we fill ourselves when the message leaves."""
    is_marketing_mail = (channel, kind) == (Channel.EMAIL, CampaignKind.MARKETING)
    return [UNSUBSCRIBE_FIELD] if is_marketing_mail else []


class Template:
    """A text with its fields, parsed once; ContentError if a `{{` is not a field."""

    def __init__(self, text: str, own: Collection[str] = ()) -> None:
        self._own = own
        self.fields: list[Field] = []
        literals = [*self._parse(text)]
        if len(self.fields) > FIELD_LIMIT:
            raise ContentError(
                f"The text uses {len(self.fields)} fields; at most {FIELD_LIMIT} are "
                "allowed."
            )
        self._pattern = "%s".join(literal.replace("%", "%%") for literal in literals)
        own_count = sum(field.default is _OWN for field in self.fields)
        more = own_count * (OWN_LENGTH - len(_OWN))
        self._length = sum(map(len, literals)) + more
        # Whether only our own fields are in it; and the fields that need a value.
        self.is_plain = all(field.default is _OWN for field in self.fields)
        self.wanted = dict.fromkeys(
            field.name for field in self.fields if field.default is None
        )

    def _parse(self, text: str) -> Iterator[str]:
        """Collect the fields; yields the literal texts before, between and after."""
        _check_disguises(text)
        start = 0
        for tag in _TAG.finditer(text):
            self.fields.append(self._field(tag))
            yield text[start : tag.start()]
            start = tag.end()
        yield text[start:]

    def _field(self, tag: re.Match[str]) -> Field:
        opening, inner, closing = tag.groups()
        name, bar, default = inner.partition("|")
        key = column_key(name)
        if len(opening) != 2 or len(closing) != 2 or not key:
            raise ContentError(
                f"The text has {_cut(tag[0])!r}, which is not a field such as "
                "{{first_name}} or {{first_name|there}}."
            )
        if key in self._own:
            if bar:
                raise ContentError(f"{braced(key)} takes no default. Leave it out.")
            return Field(key, _OWN)
        if _FILTER.match(default):
            raise ContentError(
                f"The text has {_cut(tag[0])!r}, but there are no filters. The text "
                "after the bar replaces a blank value, as in {{first_name|there}}."
            )
        return Field(key, default.strip() if bar else None)

    def texts(self, values: Mapping[str, str]) -> list[str]:
        """The texts that fill the fields, in order."""
        return [field.text(values) for field in self.fields]

    def length(self, texts: Iterable[str]) -> int:
        """The length of the filled text, without making it."""
        return self._length + sum(map(len, texts))

    def fill(self, texts: Iterable[str]) -> str:
        """The filled text."""
        return self._pattern % tuple(texts)

    def braced_values(self, values: Mapping[str, str]) -> Iterator[str]:
        """The same as `texts`, with each brace of a value in its stored form."""
        for field in self.fields:
            text = field.text(values)
            is_value = text is not field.default
            yield text.replace("{", _BRACE) if is_value else text


def is_blank(value: str) -> bool:
    """Whether the value has nothing visible."""
    return bool(_NOTHING_SEEN.fullmatch(value))


def stored_body(template: Template, values: Mapping[str, str], written: str) -> str:
    """A body in the form that `filled_when_it_leaves` takes.

    Text in a value that looks like our own field is kept from being filled.
    """
    own = sum(1 for text in template.texts(values) if text is _OWN)
    if "{{" not in written or len(_STORED.findall(written)) == own:
        return written
    return template.fill(template.braced_values(values))


def filled_when_it_leaves(stored: str, url: str) -> str:
    """A stored body with the recipient's unsubscribe link."""
    if "{{" not in stored:
        return stored
    return _STORED.sub(lambda found: "{" if found[1] else url, stored)


def as_written(stored: str) -> str:
    """A stored body for people, with our own field by its name."""
    return filled_when_it_leaves(stored, _OWN)


def check_columns(
    template: Template, columns: Collection[str], own: Collection[str] = ()
) -> None:
    """Refuse fields that no column fills; `columns` are keys."""
    known = {*columns, *own}
    for field in template.fields:
        if field.name not in known:
            names = ", ".join(filter(None, [*columns, *own]))
            raise ContentError(
                f"The text uses {braced(field.name)}, but there is no such column. "
                f"Columns: {_cut(names, COLUMNS_SHOWN)}."
            )


def check_unmerged(text: str, own: Collection[str] = ()) -> int:
    """Refuse fields in a single message, which has no values; returns its length."""
    template = Template(text, own)
    if not template.is_plain:
        name = next(each.name for each in template.fields if each.name not in own)
        raise ContentError(
            f"The text uses {braced(name)}, but nothing fills it: only campaigns have "
            "fields."
        )
    return template.length(template.texts({}))


def foreign_fields(text: str) -> list[str]:
    """Text that looks like another system's fields, and is sent unchanged."""
    others = _TAG.sub(" ", text)
    found = dict.fromkeys(_cut(match[0]) for match in _FOREIGN.finditer(others))
    return [*found][:FOREIGN_SHOWN]


def braced(name: str) -> str:
    """A field as people write it."""
    return f"{{{{{_cut(name)}}}}}"


def _check_disguises(text: str) -> None:
    for found in _BRACES_IN_DISGUISE.finditer(text):
        if found[0] != "{{":
            raise ContentError(
                f"The text has {found[0]!a} at character {found.start() + 1}, which "
                "only looks like two braces. Write {{."
            )


def _cut(text: str, limit: int = SHOWN) -> str:
    return text if len(text) <= limit else f"{text[:limit]}..."
