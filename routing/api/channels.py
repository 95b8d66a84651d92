"""A channel in the path of an endpoint."""

from __future__ import annotations

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework.exceptions import ValidationError

from routing.api.conventions.filters import listed
from routing.vocabulary import Channel

# For a view set's action: `url_path=f"channel/{CHANNEL_IN_PATH}"`.
CHANNEL_IN_PATH = r"(?P<channel>[^/.]+)"
CHANNEL_PARAMETER = OpenApiParameter(
    "channel",
    OpenApiTypes.INT,
    OpenApiParameter.PATH,
    enum=[channel.value for channel in Channel],
    description=listed(Channel),
)


def channel_in_path(text: str) -> Channel:
    """The channel; 400 lists the valid ones."""
    try:
        return Channel(int(text))
    except ValueError:
        raise ValidationError(
            {"channel": f"Choose one of: {listed(Channel)}."}, "invalid_choice"
        ) from None
