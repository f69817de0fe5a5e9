"""The tunnel between node and server as pure code: frames, session and the machine that chooses transports (rules N).

Nothing here opens a socket, reads a clock or draws a number: times (seconds, monotonic) and randomness are passed in,
and what is to be done comes back as values. `frames` → `sending`, `receiving`, `credit`, `streams`, `heartbeat` →
`session` → `handshake`; `machine` stands beside them.
"""
