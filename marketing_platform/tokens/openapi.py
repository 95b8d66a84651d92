"""The tokens in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension

from marketing_platform.tokens.authentication import HOW


class BearerScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The scheme behind Swagger's Authorize button."""

    target_class = "marketing_platform.tokens.authentication.BearerAuthentication"
    name = "bearer"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": HOW}
