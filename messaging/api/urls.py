"""Messages and campaigns, below /api/."""

from routing.api.router import Router

router = Router()

urlpatterns = router.urls
