"""The documents' lists of providers and options, from declarations on their classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from marketing_platform.generated_text import Section
from routing.providers.base import Provider
from routing.providers.options import Option

COMMAND = "manage.py document_providers --write"
TABLES = Section(
    "docs/providers.md", f"<!-- providers: {COMMAND} -->", "<!-- end of providers -->"
)
EXAMPLE = Section(
    ".env.example",
    f"# ... or accounts, as {COMMAND} lists them:",
    "# for every provider:",
    padding="\n",
)

Classes = Sequence[type[Provider]]


def tables(classes: Classes) -> str:
    """Markdown: a row for each provider, and one for each of their options."""
    return "\n".join([*_provider_rows(classes), "", *_option_rows(classes)])


def example(classes: Classes) -> str:
    """The options' variables as in .env.example, each once."""
    options = {option.variable: option for option in _options(classes)}
    options.pop("", None)  # set in MESSAGE_PROVIDERS itself
    return "\n".join(chain.from_iterable(map(_example_lines, options.values())))


def _provider_rows(classes: Classes) -> Iterator[str]:
    yield "| name | channel | class | receipts | our reference is sent in |"
    yield "|---|---|---|---|---|"
    for cls in classes:
        path = f"{cls.__module__}.{cls.__name__}"
        yield (
            f"| {cls.__name__} | {cls.channel.label} | `{path}` "
            f"| {cls.docs.receipts} | {cls.docs.reference} |"
        )


def _option_rows(classes: Classes) -> Iterator[str]:
    yield "| environment variable | option | of | default | |"
    yield "|---|---|---|---|---|"
    for option, owners in _options(classes).items():
        variable = f"`{option.variable}`" if option.variable else "—"
        yield (
            f"| {variable} | `{option.name}` | {', '.join(owners)} "
            f"| {_default(option)} | {option.help} |"
        )


def _options(classes: Classes) -> dict[Option, list[str]]:
    """Each option with the names of the providers that share it."""
    owners: dict[Option, list[str]] = {}
    for cls in classes:
        for option in cls.declared_options:
            owners.setdefault(option, []).append(cls.__name__)
    return owners


def _default(option: Option) -> str:
    if value := _text(option):
        return f"`{value}`"
    return "required" if option.is_required else "—"


def _text(option: Option) -> str:
    """The default as a variable's text."""
    if isinstance(option.default, bool):
        return str(int(option.default))
    return str(option.default)


def _example_lines(option: Option) -> Iterator[str]:
    if option.help:
        yield f"#   {option.help.replace('`', '')}"
    yield f"# {option.variable}={_text(option)}"
