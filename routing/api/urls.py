"""Routes, providers, attempts and statistics, below /api/."""

from routing.api.attempts import AttemptViewSet
from routing.api.conventions.router import Router
from routing.api.explanations import ExplanationViewSet
from routing.api.providers import ProviderViewSet
from routing.api.retry_rules import RetryRuleViewSet
from routing.api.routes import RouteViewSet
from routing.api.statistics import StatisticsViewSet

router = Router()
router.register("providers", ProviderViewSet, basename="providers")
router.register("routingconfig", RouteViewSet, basename="routingconfig")
router.register(
    "routingconfig/delivery-attempts", AttemptViewSet, basename="delivery-attempts"
)
router.register("routingconfig/explain", ExplanationViewSet, basename="explain")
router.register("routingconfig/retries", RetryRuleViewSet, basename="retry-rules")
router.register("routingconfig/stats", StatisticsViewSet, basename="stats")

urlpatterns = router.urls
