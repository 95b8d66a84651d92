"""Routes, attempts and statistics, below /api/."""

from routing.api.router import Router

router = Router()

urlpatterns = router.urls
