"""The enumerations of campaigns. All others are in `routing.vocabulary`."""

from __future__ import annotations

from routing.vocabulary import ChoiceEnum


class CampaignStatus(ChoiceEnum):
    """Whether a campaign's messages may leave."""

    DRAFT = 0  # being prepared
    RUNNING = 1  # its messages leave as they fall due
    PAUSED = 2  # an operator holds them back
    COMPLETED = 3  # none is left to send
    CANCELLED = 4  # an operator withdrew the messages that had not left


class SuppressionReason(ChoiceEnum):
    """Why an address is suppressed."""

    OPTED_OUT = 0  # the recipient said stop
    HARD_BOUNCE = 1  # the mailbox or number does not exist
    COMPLAINT = 2  # the recipient reported us
    MANUAL = 3  # an operator entered it


class SuppressionScope(ChoiceEnum):
    """What a suppression holds back."""

    ALL = 0  # every message
    MARKETING = 1  # marketing only: transactional messages still leave


class WorkerKind(ChoiceEnum):
    """What runs the queue processor."""

    CLUSTER = 0  # a task in the django-q2 cluster
    COMMAND = 1  # manage.py process_queue


class BulkAct(ChoiceEnum):
    """What a bulk job does with its messages."""

    RETRY = 0  # queue those again that certainly failed
    CANCEL = 1  # withdraw those that are queued
    SEND_AGAIN = 2  # unknown outcomes, which may arrive twice
    GIVE_UP = 3  # unknown outcomes


class JobState(ChoiceEnum):
    """How far a bulk job is."""

    WAITING = 0  # for a worker
    RUNNING = 1
    FINISHED = 2
    STOPPED = 3  # by a person; what was done stays
    FAILED = 4  # by an error; what was done stays
