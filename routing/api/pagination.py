"""Lists that grow come in pages."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class Pages(CursorPagination):
    """`{"next", "previous", "results"}`, the newest first; follow `next` to go on.

    A cursor costs the same on any page, and no row is skipped or repeated when others
    are added meanwhile. There is no total: it would cost more than the page.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "pageSize"
    ordering = "-id"

    @property
    def query_names(self) -> set[str]:
        """The parameters that it reads."""
        return {self.cursor_query_param, self.page_size_query_param}
