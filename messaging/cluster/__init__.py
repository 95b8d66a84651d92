"""The django-q2 cluster: its broker, its schedules, and its end."""
