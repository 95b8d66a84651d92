"""Simulated providers on this machine: the real protocols, but no message is sent.

One process (`manage.py simulate_providers`) listens as Twilio, Vonage, SendGrid and an
SMTP server, sends signed receipts, and on request fails as the real ones do. `client`
controls it, `process` runs it from a test, the demo or a benchmark.

    server ── control
      └── wires: twilio │ vonage_sms │ vonage_messages │ sendgrid │ smtp
            └── simulation: faults, carrier, handset log, receipts

Recipients with a special meaning:

- Twilio: the numbers of its test account, +15005550001 invalid (21211), …02 not
  reachable (21612), …03 region not enabled (21408), …04 opted out (21610), …09 not a
  mobile (21614).
- E-mail: an address that starts with "unknown" does not exist: SMTP answers 550,
  SendGrid accepts and sends a bounce.
"""
