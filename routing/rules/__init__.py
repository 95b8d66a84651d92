"""Decisions as pure functions: routes, retries, breakers, throttles, prices, rates."""
