"""Providers that live on this machine: the real wires, and nobody gets a message.

One process (`manage.py simulate_providers`) listens as Twilio, Vonage, SendGrid and an
SMTP server, sends signed receipts back, and does on request what the real ones do on
their bad days. `client` steers it, `process` runs it from a test, a demo or a bench.

    server ── control
      └── wires: twilio │ vonage_sms │ vonage_messages │ sendgrid │ smtp
            └── simulation: faults, carrier, handset log, receipts

Recipients with a meaning of their own:

- Twilio: the numbers of its test account, +15005550001 invalid (21211), …02 not
  reachable (21612), …03 region not enabled (21408), …04 opted out (21610), …09 not a
  mobile (21614).
- E-mail: a local part that starts with "unknown" does not exist: SMTP answers 550,
  SendGrid accepts and sends a bounce.
"""
