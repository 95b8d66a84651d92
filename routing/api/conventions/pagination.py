"""Pages of lists that grow."""

from __future__ import annotations

import re
from typing import Any

from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from routing.api.conventions.router import ID


class Pages(CursorPagination):
    """`{"next", "previous", "results"}`, the newest first; follow `next` for more.

    A cursor costs the same on any page, and skips or repeats no row when others are
    added in the meantime. There is no total: it would cost more than the page.
    """

    page_size = 50
    max_page_size = 200
    page_size_query_param = "pageSize"
    ordering = "-id"

    @property
    def query_names(self) -> set[str]:
        """The parameters that it reads."""
        return {self.cursor_query_param, self.page_size_query_param}

    def get_page_size(self, request: Request) -> int:
        """As requested; DRF would ignore values that are too large or not a number."""
        asked = request.query_params.get(self.page_size_query_param)
        if asked is None:
            return self.page_size
        if asked not in map(str, range(1, self.max_page_size + 1)):
            raise ValidationError(
                {self.page_size_query_param: f"Choose from 1 to {self.max_page_size}."}
            )
        return int(asked)

    def decode_cursor(self, request: Request) -> Any:
        """The position. For a bad cursor DRF would answer 404."""
        try:
            cursor = super().decode_cursor(request)
        except NotFound:
            raise self._not_ours() from None
        if cursor and not re.fullmatch(ID, str(cursor.position or 0)):
            raise self._not_ours()  # made up: all our lists are ordered by id
        return cursor

    def _not_ours(self) -> ValidationError:
        return ValidationError(
            {self.cursor_query_param: "Take it from `next` or `previous`."}
        )

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """With the range of the page size."""
        cursor, page_size = super().get_schema_operation_parameters(view)
        page_size["schema"] |= {
            "minimum": 1,
            "maximum": self.max_page_size,
            "default": self.page_size,
        }
        return [cursor, page_size]

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """All three are required; DRF describes links as in OpenAPI 3.0."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": link | {"description": "Null on the last page."},
                "previous": link | {"description": "Null on the first page."},
                "results": schema,
            },
        }
