from django.contrib.admin.apps import AdminConfig


class BackOfficeConfig(AdminConfig):
    """Django's admin, with our front page."""

    default_site = "marketing_platform.back_office.site.BackOffice"
