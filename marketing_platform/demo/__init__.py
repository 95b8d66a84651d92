"""The demo: a campaign on every channel, an outage, and an account of each message.

Everything in it is what production runs, pointed at the provider simulators.
"""
