"""Results: decide the next step of messages whose call has ended, and write it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import DatabaseError

from messaging.queue.claimed import Claimed, Result
from messaging.queue.quarantine import may_be_of_one_message
from messaging.queue.record import record, resume
from routing.decision.planner import Planner
from routing.dispatch import SendResult
from routing.look_ups import first_look
from routing.rules.decide import (
    AwaitVerdict,
    Choices,
    DecisionContext,
    FallBack,
    GiveUp,
    Retry,
    Sent,
    Step,
    cautious_step,
    next_step,
)

logger = logging.getLogger(__name__)

REASONS_AT_MOST = 20  # in a report
OTHER_REASONS = "other reasons"


@dataclass(slots=True)
class Report:
    """What a worker did: messages claimed, and how their attempts ended."""

    claimed: int = 0
    accepted: int = 0
    fallbacks: int = 0
    retries: int = 0
    unknown: int = 0
    failed: int = 0
    recovered: int = 0
    receipts: int = 0  # applied
    ended: dict[str, int] = field(default_factory=dict)  # never sent, by reason

    def count(self, result: Result) -> None:
        """Count one attempt by the step that follows."""
        name = {
            Sent: "accepted",
            FallBack: "fallbacks",
            Retry: "retries",
            AwaitVerdict: "unknown",
            GiveUp: "failed",
        }[type(result.step)]
        setattr(self, name, getattr(self, name) + 1)
        if name == "failed":
            self.count_ended({result.reason: 1})

    def count_ended(self, reasons: Mapping[str, int]) -> None:
        """Count messages that will never leave; rare reasons share a line."""
        for reason, count in reasons.items():
            has_room = reason in self.ended or len(self.ended) < REASONS_AT_MOST
            key = reason if has_room else OTHER_REASONS
            self.ended[key] = self.ended.get(key, 0) + count


class Results:
    """Decides what follows one worker's calls, and writes it."""

    def __init__(
        self,
        *,
        owner: int,
        lease: timedelta,
        verdict_wait: timedelta,
        planner: Planner,
        clock: Callable[[], datetime],
    ) -> None:
        self._owner = owner
        self._lease = lease
        self._verdict_wait = verdict_wait
        self._planner = planner
        self._clock = clock

    def judge(self, ended: Iterable[tuple[Claimed, SendResult]]) -> list[Result]:
        """Decide the next step of each, in the light of all of these calls: those that
        show an outage do not use up a retry for it.
        """
        ended = list(ended)
        self._heed(ended)
        return self.decide(ended)

    def _heed(self, ended: Sequence[tuple[Claimed, SendResult]]) -> None:
        if any(done.failure for _, done in ended):
            outcomes = [claimed.outcome(done) for claimed, done in ended]
            self._planner.foresee(outcomes, now=self._clock())
        self._planner.note_successes(
            {(done.provider, each.channel) for each, done in ended if done.acceptance},
            now=self._clock(),
        )

    def decide(self, ended: Iterable[tuple[Claimed, SendResult]]) -> list[Result]:
        """Decide the next step of each. They may be calls of long ago that were looked
        up: those say nothing about their provider now.
        """
        return [
            Result(claimed, done, self._step(claimed, done)) for claimed, done in ended
        ]

    def _step(self, claimed: Claimed, done: SendResult) -> Step:
        """The next step; an error in deciding affects only this message."""
        at = DecisionContext(
            now=self._clock(),
            rng=self._planner.rng,
            choices=Choices(()),
            jitter=settings.RETRY_JITTER,
            verdict_wait=self._verdict_wait,
        )
        try:
            if done.failure:
                at = replace(
                    at,
                    choices=self._choices(claimed, at.now),
                    verdict_wait=first_look(
                        done.provider, verdict_wait=at.verdict_wait, is_call_over=True
                    ),
                    retries=self._planner.retry_table(now=at.now),
                )
            return next_step(claimed.route, done.failure, claimed.round, at)
        except DatabaseError:
            raise
        except Exception:
            logger.exception(
                "Could not decide the next step for %s.", claimed.content.reference
            )
            return cautious_step(done.failure, at)

    def _choices(self, claimed: Claimed, now: datetime) -> Choices:
        """Where a message could go after its provider refused it."""
        return self._planner.choices(
            claimed.route,
            claimed.request,
            now=now,
            snapshot=self._planner.snapshot(now=now),
        )

    def write(
        self, results: Sequence[Result], *, is_again: bool = False
    ) -> list[Claimed]:
        """Write them together; if that fails, write each by itself.

        Recovery may just have written the same attempt; then this one is late. A result
        that cannot be written, because its adapter returned nonsense, is left until its
        lease expires, and recovery records it as Unknown. Two results of one attempt
        (given up, then back after all) are written separately: each is evidence.
        """
        if len({each.claimed.message_id for each in results}) < len(results):
            return [each for one in results for each in self.write([one])]
        try:
            return record(
                results,
                owner=self._owner,
                lease=self._lease,
                planner=self._planner,
                now=self._clock(),
            )
        except Exception as error:
            if not may_be_of_one_message(error):
                raise
            if not is_again:
                apart = [self.write([one], is_again=True) for one in results]
                return [each for fallbacks in apart for each in fallbacks]
            reference = results[0].claimed.content.reference
            logger.exception("Could not write the result of %s.", reference)
            return []

    def resume(self, results: Sequence[Result]) -> list[Claimed]:
        """Continue with messages that were not sent, according to a look-up."""
        if not results:
            return []
        return resume(results, owner=self._owner, lease=self._lease, now=self._clock())


def within_room(results: Sequence[Result], *, room: int, now: datetime) -> list[Result]:
    """The results with no more fallbacks from shared calls than may be sent now.

    Each message falls back alone, so that one failed call may need many places. The
    others go back to the queue and start their round again, without using up a retry.
    """
    fitted = []
    room -= sum(isinstance(each.step, FallBack) for each in results)
    for each in results:
        if room < 0 and each.claimed.call_id and isinstance(each.step, FallBack):
            room += 1
            fitted.append(each._replace(step=Retry(now, counts_as_retry=False)))
        else:
            fitted.append(each)
    return fitted
