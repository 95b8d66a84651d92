"""Paths that work with and without a trailing slash."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

# For `lookup_value_regex`: what a BIGINT holds, so that no database is asked for more.
ID = "[0-9]{1,18}"
LARGEST_ID = 10**18 - 1


class Router(SimpleRouter):
    """As DRF's, for view sets. Links and the OpenAPI document have no slash."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
