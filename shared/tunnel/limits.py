"""Every limit of the tunnel, together, because several depend on each other."""

# A message of the transports: one or more frames. Two posts travel at once, and the second may arrive first, so that
# the frames of both together must fit into what a receiver reorders.
MAX_MESSAGE_BYTES = 256 * 1024
MAX_POSTS_IN_FLIGHT = 2
REORDERED_FRAMES = 64
MAX_MESSAGE_FRAMES = REORDERED_FRAMES // MAX_POSTS_IN_FLIGHT
MAX_FRAME_PAYLOAD_BYTES = 64 * 1024
# Smaller ones would make WELCOME's `max_frame` a way to make the peer work for nothing.
MIN_FRAME_PAYLOAD_BYTES = 1024

# Acknowledging.
ACK_EVERY_FRAMES = 32
ACK_AFTER_S = 0.2
MAX_UNACKNOWLEDGED_BYTES = 4 * 1024 * 1024
MAX_UNACKNOWLEDGED_S = 60.0
# A session that no transport carries ends after the same time.
MAX_AWAY_S = MAX_UNACKNOWLEDGED_S

# Credit and fairness. A stream that is alone sends frames of the greatest size, several take turns with smaller ones.
STREAM_CREDIT_BYTES = 256 * 1024
SESSION_CREDIT_BYTES = 2 * 1024 * 1024
SHARED_FRAME_BYTES = 16 * 1024
# The last of the session's credit is kept for streams that have little under way, so that readers who have stopped
# reading, each holding the credit of a stream, do not stop the others.
RESERVED_CREDIT_BYTES = SESSION_CREDIT_BYTES // 4
SMALL_STREAM_BYTES = 8 * 1024
# While readers hold more than this, credit is granted in small steps: a sender that is kept to a small stream's share
# must learn of each half of it.
HELD_BYTES = SESSION_CREDIT_BYTES // 4
EAGER_GRANT_BYTES = SMALL_STREAM_BYTES // 2
# What a sender may hand over before it has credit, of each stream.
STREAM_BUFFER_BYTES = MAX_FRAME_PAYLOAD_BYTES
MAX_STREAMS = 256
# Openings that wait for a transport; beyond this no stream can be opened.
MAX_WAITING_CONTROL_BYTES = 1024 * 1024
# What is told and not numbered, by kind and key; the newest of a key replaces the older.
MAX_NOTICES = 1024

# Heartbeat: idle, with streams, and when the machine woke up or changed its address. With streams the last second of
# ten is for another transport, so that an answer stands still for ten at the most.
PING_IDLE_S = 15.0
DEAD_IDLE_S = 25.0
PING_ACTIVE_S = 5.0
DEAD_ACTIVE_S = 9.0
SUSPECT_S = 3.0
# A transport on which acknowledgements do not move for so long is given up, though bytes may come.
STUCK_S = DEAD_IDLE_S

# Choosing a transport.
WELCOME_S = 6.0
POLLING_AFTER_S = 2.5
SHORT_LIFE_S = 10.0
SHORT_LIVES = 2
STABLE_AFTER_S = 10.0
PROBE_AFTER_S = 60.0
MAX_PROBE_AFTER_S = 15 * 60.0
PROBE_SPREAD = 0.2
SWITCH_S = 3.0
FIRST_BACKOFF_S = 0.25
BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0

# Handshake.
SESSION_BYTES = 16
MAX_HELLO_TOKEN_BYTES = 4096
MAX_CAPABILITIES = 16
MAX_CAPABILITY_CHARACTERS = 32
