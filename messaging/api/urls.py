"""Messages and campaigns, below /api/."""

from messaging.api.campaign_views import CampaignViewSet
from messaging.api.message_views import MessageViewSet
from routing.api.conventions.router import Router

router = Router()
router.register("messages", MessageViewSet, basename="message")
router.register("campaigns", CampaignViewSet, basename="campaign")

urlpatterns = router.urls
