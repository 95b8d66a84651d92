"""Paths that work with and without a trailing slash."""

from __future__ import annotations

from rest_framework.routers import SimpleRouter

# For `lookup_value_regex`: only ids that fit into a BIGINT reach the database.
ID = "[0-9]{1,18}"
LARGEST_ID = 10**18 - 1


class Router(SimpleRouter):
    """Like DRF's, for view sets. Links and the OpenAPI document have no slash."""

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
