"""Dates and times in the back office, as in logs and in the API."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
