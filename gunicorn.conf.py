"""How the web server runs; gunicorn reads this by itself where it is started.

What the command line says wins, apart from the worker, which is what keeps slow clients
from holding threads: see marketing_platform/web_server.py.
"""

worker_class = "marketing_platform.web_server.BufferingWorker"
workers = 2  # or WEB_CONCURRENCY: one or two per core
threads = 8  # requests at work in each
worker_connections = 1000  # open in each, at work or not
backlog = 2048
graceful_timeout = 30  # seconds for what is at work when SIGTERM comes
max_requests = 0
