"""The demo: a campaign on every channel, an outage, and a check of each message.

Everything in it is production code, pointed at the provider simulators.
"""
