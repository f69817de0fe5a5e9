"""Every limit of the protocol, together, because several depend on each other."""

# Identifiers and hashes, bytes.
ACCOUNT_ID_BYTES = 16
DEVICE_ID_BYTES = 8
NODE_ID_BYTES = 16
ENTITY_ID_BYTES = 16
CLOCK_BYTES = 16
HASH_BYTES = 32

# Sequence numbers are u53, so that a JavaScript number holds each exactly (rule L1).
MAX_SEQUENCE = 2**53 - 1

# Clocks.
MAX_CLOCK_MS = 2**48 - 1
MAX_CLOCK_COUNTER = 2**16 - 1
MAX_CLOCK_AHEAD_MS = 60_000

# Sync. A push must hold at least one change of the greatest size.
MAX_PUSH_CHANGES = 2000
MAX_VALUE_BYTES = 512 * 1024
MAX_PUSH_BYTES = 1024 * 1024
DEFAULT_PULL_CHANGES = 500
MAX_PULL_CHANGES = 1000
# Pages of a bootstrap: large, because nobody waits for a single one of them.
DEFAULT_BOOTSTRAP_CELLS = 4000
MAX_BOOTSTRAP_CELLS = 10_000
# A segment of a page ends with the entity in which its values reach this many bytes.
SEGMENT_BYTES = 48 * 1024
# A page of a pull is cut at this many bytes of values, whatever the count.
MAX_PULL_BYTES = 4 * 1024 * 1024
# News of the log carries the changes themselves while they are smaller than this.
MAX_INLINE_NEWS_BYTES = 16 * 1024
DEFAULT_QUOTA_BYTES = 4 * 1024 * 1024 * 1024
# A tombstone leaves the log once every live device has read it, and at the latest after this.
TOMBSTONE_KEPT_S = 90 * 86_400
# A holder renews its lease when a third of it is over.
LEASE_S = 60
LEASE_TOKEN_BYTES = 16

# Blobs. A piece is the body of one PUT; proxies in front of the server must let it pass.
MAX_BLOB_BYTES = 256 * 1024 * 1024
MAX_BLOB_PIECE_BYTES = 4 * 1024 * 1024
# What no attachment names is kept this long, so that a device may upload first and write offline.
BLOB_ORPHAN_KEPT_S = 7 * 86_400
# After a restored backup: what names it may come back with a device that was away, as long as that counts as live.
BLOB_RESTORED_KEPT_S = TOMBSTONE_KEPT_S

# Addresses of a node: more than any browser tries.
MAX_CANDIDATES = 12

# Accounts.
MIN_USERNAME_CHARACTERS = 1
MAX_USERNAME_CHARACTERS = 64
MIN_PASSWORD_CHARACTERS = 8
MAX_PASSWORD_CHARACTERS = 1024
# IPv6 with an IPv4 part, and room for a zone.
MAX_ADDRESS_CHARACTERS = 64
MAX_DEVICE_NAME_CHARACTERS = 80
MAX_KEY_NAME_CHARACTERS = 80

# Pairing. The first characters of a code name it and the others, 65 bits, are its secret, so that tries can be counted.
PAIRING_CODE_GROUPS = 4
PAIRING_CODE_NAME_CHARACTERS = 3
PAIRING_TRIES = 5
PAIRING_LIFETIME_S = 600
PAIRING_NONCE_BYTES = 32
MAX_PAIRING_CODE_CHARACTERS = 64

# Tokens, seconds.
MAX_TOKEN_BYTES = 4096
TOKEN_LIFETIME_S = 86_400
TOKEN_LEEWAY_S = 60
NODE_ASSERTION_LIFETIME_S = 60
# A key set is renewed each day. A node that has not met its server for this long trusts no token any more.
KEY_SET_LIFETIME_S = 30 * 86_400
MAX_KEY_SET_BYTES = 16 * 1024
# What a browser signs to have its token renewed at a node: until when, a nonce, and the node's mark.
CHALLENGE_BYTES = 40
CHALLENGE_S = 60
# How long after its end a token can still be renewed at the node (rule K11), and so how long it must stay revoked.
RENEWABLE_S = 14 * 86_400
MAX_REVOCATIONS_BYTES = 1024 * 1024
REFRESH_IDLE_S = 30 * 86_400
REFRESH_ABSOLUTE_S = 90 * 86_400
REFRESH_RETRY_S = 10

# HTTP bodies other than a push, bytes.
MAX_JSON_BODY_BYTES = 64 * 1024
MAX_ANSWER_BODY_BYTES = 4 * 1024 * 1024

# Sealed calls. A call holds the greatest body, a token, a path and its padding.
SECRET_BYTES = 32
SEALING_KEY_BYTES = 32
SEALED_BLOCK_BYTES = 64
MAX_SEALED_PATH_CHARACTERS = 2048
MAX_SEALED_BYTES = MAX_ANSWER_BODY_BYTES + 16 * 1024
MAX_SEALING_KEY_BYTES = 1024
# A new key each day; the old one opens calls until its signed record has run out.
SEALING_KEY_FRESH_S = 86_400
SEALING_KEY_KEPT_S = 2 * 86_400
# What has been opened is remembered for one to two epochs. One that is full ends early.
CALL_EPOCH_S = 600
MAX_CALLS_AN_EPOCH = 50_000
MAX_OPEN_CALLS = 256
SEALED_BODY_WITHIN_S = 60.0

# The head of an HTTP request: two tokens, and many times what a browser sends. Slow radio takes seconds for it.
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 100
HEAD_WITHIN_S = 20.0
# A body is given up when in that time less than this has come of it. The slowest radio brings ten times as much.
BODY_WITHIN_S = 20.0
BODY_BYTES_EACH = 4096

# Runs.
REPLAY_BYTES = 4 * 1024 * 1024
REPLAY_KEPT_S = 30 * 60
# Text goes out at once, and is joined only where a model is faster than this: each event costs a reader something.
TEXT_EVENT_MS = 8
EVENT_STREAM_PING_S = 10
NODE_GONE_AFTER_S = 60
MAX_MESSAGE_CHARACTERS = 100_000
