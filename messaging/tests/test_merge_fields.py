"""Merge fields: which are found, how they are filled, what is refused."""

from __future__ import annotations

import contextlib
import time
import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from messaging.rules.content import ContentError
from messaging.rules.merge_fields import (
    FIELD_LIMIT,
    Template,
    as_written,
    check_columns,
    filled_when_it_leaves,
    foreign_fields,
    keyed,
    stored_body,
)
from routing.csv_files import column_key

LINK = "https://messages.example.com/unsubscribe/abc/"
OWN = ["unsubscribe_url"]
# Texts that are full of what could be mistaken for a field, or for a stored one.
tricky_texts = st.lists(
    st.sampled_from(
        [
            *("{{", "}}", "{", "}", " ", '"', "name", "%s", "\\1", "unsubscribe_url"),
            *("{{a}}", "{{unsubscribe_url}}", '{{"{"}}'),
        ]
    ),
    max_size=12,
).map("".join)


# The first draw of a process reads its whole source.
at_leisure = settings(suppress_health_check=[HealthCheck.too_slow])


def filled(text, values, own=()):
    template = Template(text, own)
    return template.fill(template.texts(values))


@pytest.mark.parametrize("text", ["{{name}}", "{{ Name }}", "{{\tNAME }}", "{{name }}"])
def test_a_field_is_filled_whatever_its_case_and_spaces(text):
    assert filled(f"Hi {text}!", {"name": "Ann"}) == "Hi Ann!"


@pytest.mark.parametrize(
    ("column", "field"),
    [
        ("First Name", "first name"),
        ("first name", "First\u00a0  Name"),
        ("prénom", unicodedata.normalize("NFD", "PRÉNOM")),
        (unicodedata.normalize("NFD", "prénom"), "prénom"),
        ("first-name", "First-Name"),
        ("\ufefffirst\u200bname", "firstname"),
        ("Straße", "STRASSE"),
        ("ｎａｍｅ", "name"),
        ("имя", "ИМЯ"),
        ("姓名", "姓名"),
        ("1st", "1ST"),
        ("a.b", "A.B"),
    ],
)
def test_any_column_can_be_filled_however_its_name_is_spelt(column, field):
    values = {column_key(column): "Ann"}
    template = Template(f"Hi {{{{{field}}}}}")

    check_columns(template, values)
    assert template.fill(template.texts(values)) == "Hi Ann"


@pytest.mark.parametrize(
    "text",
    [
        "{{}}",
        "{{ }}",
        "{{\u200b}}",
        "{{|there}}",
        "{{name",
        "{{name}",
        "{{name} }",
        "{{name}}}",
        "{{{name}}}",
        "{{{name}}",
        "{{a{{name}}}}",
        "{{{{",
        "{{name{}}",
        "{\u200b{name}}",
        "{\u00ad\u2060{name}}",
        "｛｛name}}",
        "{｛name}}",
        "﹛﹛name}}",
        "{\u3164{name}}",
        "{\u2800{name}}",
        "{\x01{name}}",
        "{\U000e0001{name}}",
        "https://example.com/?to=%7B%7bname%7D%7D",
        "%257B%257Bname%257D%257D",
        "{%7Bname}}",
        "&#123;&#x7B;name}}",
        "&lbrace;&lcub;name}}",
        "{{name|safe}}",
        "{{ name | Upper }}",
        "{{name|default:there}}",
        "{{name|default('there')}}",
        "{{name|'there'}}",
        "{{name|“there”}}",
        "{{name|a|b}}",
    ],
)
def test_two_braces_that_are_no_field_are_refused(text):
    with pytest.raises(ContentError, match="The text has"):
        Template(f"Hi {text} bye")


@pytest.mark.parametrize(
    "name",
    [
        *("Surname", "settings.SECRET_KEY", "name.__class__", "#if name", "/if"),
        *("& name", "first_name ", "first  name?", "x" * 100),
    ],
)
def test_a_field_without_a_column_is_refused_by_name(name):
    columns = ["phone", "city", "name"]

    with pytest.raises(ContentError) as refusal:
        check_columns(Template(f"Hi {{{{{name}}}}} of {{{{city}}}}"), columns)

    field = name.strip().lower()
    shown = " ".join(field.split()) if len(field) <= 40 else f"{field[:40]}..."
    assert str(refusal.value) == (
        f"The text uses {{{{{shown}}}}}, but there is no such column. "
        "Columns: phone, city, name."
    )


def test_of_thousands_of_columns_a_few_are_named():
    with pytest.raises(ContentError) as refusal:
        check_columns(Template("{{x}}"), [f"column {number}" for number in range(9999)])

    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    "text", ["{x}", "a}} b", "{ {x} }", "a %7B b", "%(x)s %s 20 % off", "$x"]
)
def test_what_has_no_two_braces_is_sent_as_it_stands(text):
    assert filled(text, {"x": "oops"}) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Hi *|FNAME|*, hello", "*|FNAME|*"),
        ("Hi %recipient.first_name%", "%recipient.first_name%"),
        ("Hi %%FirstName%%", "%%FirstName%%"),
        ("Hi %FIRSTNAME%", "%FIRSTNAME%"),
        ("Hi [[first_name]]", "[[first_name]]"),
        ("{% if x %}a{% endif %}", "{% if x %}"),
        ("Hi {first_name},", "{first_name}"),
        ("Hi ${first_name},", "${first_name}"),
        ("Hi { {first_name} }", "{first_name}"),
        ("Hi <%= name %>", "<%= name %>"),
    ],
)
def test_fields_of_other_systems_are_noticed(text, shown):
    assert foreign_fields(text)[0] == shown


@pytest.mark.parametrize(
    "text", ["20 % off, 30 % on Sunday", "a{color:red}", "[News] x"]
)
def test_ordinary_texts_have_no_fields_of_other_systems(text):
    assert foreign_fields(text) == []


@pytest.mark.parametrize(
    "blank", [{}, *({"name": each} for each in ("", " ", "\u200b", "\u3164\u00a0"))]
)
@pytest.mark.parametrize(
    ("field", "result"), [("{{name|there}}", "there"), ("{{name| }}", "")]
)
def test_a_default_stands_for_a_value_that_is_blank_or_not_there(field, result, blank):
    assert filled(f"Hi {field}!", blank) == f"Hi {result}!"
    assert filled(f"Hi {field}!", {"name": "Ann"}) == "Hi Ann!"
    assert not Template(field).wanted


def test_two_values_of_one_field_are_refused():
    with pytest.raises(ContentError, match=r"it has \{\{first name\}\} twice"):
        keyed({"First Name": "Ann", "x": "", "first  name": "Bob"})


@at_leisure
@given(value=tricky_texts)
def test_the_text_of_a_value_is_never_looked_at_again(value):
    result = filled("<{{a}}|{{b}}>", {"a": value, "b": value, "name": "Ann"})

    assert result == f"<{value}|{value}>"


@at_leisure
@given(first=tricky_texts, second=tricky_texts)
def test_nor_is_it_when_an_e_mail_leaves(first, second):
    text, values = "{{a}}{{b}}% {{ Unsubscribe_URL }}{{a}}", {"a": first, "b": second}
    template = Template(text, OWN)
    written = template.fill(template.texts(values))

    stored = stored_body(template, values, written)

    assert filled_when_it_leaves(stored, LINK) == f"{first}{second}% {LINK}{first}"
    assert as_written(stored) == f"{first}{second}% {{{{unsubscribe_url}}}}{first}"


def test_a_body_stays_readable_where_no_value_looks_like_our_field():
    values = {"a": "it's {{email}} & {b}"}
    template = Template("{{a}} {{unsubscribe_url}}", OWN)
    written = template.fill(template.texts(values))

    assert stored_body(template, values, written) == written


def test_bodies_that_were_stored_before_are_filled_as_they_were():
    stored = "Bye: {{ Unsubscribe_url }} and {{other}}"

    assert filled_when_it_leaves(stored, LINK) == f"Bye: {LINK} and {{{{other}}}}"


def test_a_recipients_own_link_goes_before_ours():
    values = {"unsubscribe_url": "https://example.com/bye"}

    assert filled("{{unsubscribe_url}}", values, OWN) == "https://example.com/bye"


@at_leisure
@given(values=st.fixed_dictionaries({"a": tricky_texts, "b": tricky_texts}))
def test_the_length_is_known_before_the_text_is_made(values):
    template = Template("{{a}} % {{b}}{{a}}{{c|there}}")
    texts = template.texts(values)

    assert template.length(texts) == len(template.fill(texts))


def test_a_text_has_so_many_fields_at_most():
    Template("{{x}}" * FIELD_LIMIT)

    with pytest.raises(ContentError, match="uses 501 fields; at most 500"):
        Template("{{x}}" * (FIELD_LIMIT + 1))


@pytest.mark.parametrize(
    "piece",
    ["{", "{{", "{ ", "{{ ", "{\u200b", "{%", "*|", "%a.", "[[", "${", "{a", "%"],
)
@pytest.mark.parametrize("read", [Template, foreign_fields, as_written])
def test_to_read_a_text_takes_time_in_proportion_to_its_length(read, piece):
    started = time.perf_counter()
    with contextlib.suppress(ContentError):
        read(piece * (262_144 // len(piece)))

    assert time.perf_counter() - started < 2
