"""The tables as SQLAlchemy sees them. `migrations/` makes them; a test keeps the two equal.

Identifiers are BINARY and every key of an account's data begins with the account, so that one account is one shard.
Secondary keys are unique constraints: they stand inside CREATE TABLE, so one table is one DDL statement.
"""

from __future__ import annotations

from sqlalchemy import BINARY, BigInteger, Boolean, Column, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy import PrimaryKeyConstraint as PrimaryKey
from sqlalchemy import UniqueConstraint as Unique
from sqlalchemy.dialects.mysql import MEDIUMBLOB, VARBINARY

from shared.limits import (
    ACCOUNT_ID_BYTES,
    CLOCK_BYTES,
    DEVICE_ID_BYTES,
    ENTITY_ID_BYTES,
    HASH_BYTES,
    LEASE_TOKEN_BYTES,
    MAX_ADDRESS_CHARACTERS,
    MAX_DEVICE_NAME_CHARACTERS,
    MAX_USERNAME_CHARACTERS,
    NODE_ID_BYTES,
    PAIRING_CODE_NAME_CHARACTERS,
)

metadata = MetaData()

AccountId = BINARY(ACCOUNT_ID_BYTES)
DeviceId = BINARY(DEVICE_ID_BYTES)
NodeId = BINARY(NODE_ID_BYTES)
EntityId = BINARY(ENTITY_ID_BYTES)
Hash = BINARY(HASH_BYTES)
# Case folding makes at most three characters of one, UTF-8 at most four bytes of a character.
FoldedName = LargeBinary(768).with_variant(VARBINARY(768), "mysql", "mariadb")
CellValue = LargeBinary().with_variant(MEDIUMBLOB(), "mysql", "mariadb")

account = Table(
    "account",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("username", String(MAX_USERNAME_CHARACTERS), nullable=False),
    Column("username_folded", FoldedName, nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("is_owner", Boolean, nullable=False),
    Column("head", BigInteger, nullable=False),
    Column("floor", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("bytes_used", BigInteger, nullable=False),
    Column("quota_bytes", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # How many conversations were ever purged: a push looks into `purge` only where there are any.
    Column("purges", BigInteger, nullable=False, server_default="0"),
    PrimaryKey("account_id"),
    Unique("username_folded", name="account_username"),
)

device = Table(
    "device",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("device_id", DeviceId, nullable=False),
    Column("kind", String(8), nullable=False),
    Column("name", String(MAX_DEVICE_NAME_CHARACTERS), nullable=False),
    Column("last_dseq", BigInteger, nullable=False),
    Column("last_hash", Hash, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    # The cursor with which it last pulled past a tombstone.
    Column("acked_seq", BigInteger, nullable=False, server_default="0"),
    # RFC 7638, of the key that the browser made at its last login (rule K11).
    Column("key_thumbprint", Hash),
    # The last login with the password, which the account's other devices are told of; 0 for a PC.
    Column("login_ms", BigInteger, nullable=False, server_default="0"),
    Column("login_address", String(MAX_ADDRESS_CHARACTERS)),
    # Where it was seen last.
    Column("address", String(MAX_ADDRESS_CHARACTERS)),
    PrimaryKey("account_id", "device_id"),
)

cell = Table(
    "cell",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("etype", Integer, nullable=False),
    Column("eid", EntityId, nullable=False),
    Column("field", Integer, nullable=False),
    Column("scope", EntityId, nullable=False),
    Column("clk", BINARY(CLOCK_BYTES), nullable=False),
    Column("dseq", BigInteger, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("kid", BigInteger, nullable=False),
    Column("value", CellValue, nullable=False),
    PrimaryKey("account_id", "etype", "eid", "field"),
    Unique("account_id", "seq", name="cell_seq"),
    # Ends with the primary key, which InnoDB appends to a secondary key anyway.
    Unique("account_id", "scope", "etype", "eid", "field", name="cell_scope"),
)

# A conversation that was purged, remembered for ever; `seq` is its tombstone's while that is in the log.
purge = Table(
    "purge",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("scope", EntityId, nullable=False),
    Column("seq", BigInteger),
    Column("purged_ms", BigInteger, nullable=False),
    PrimaryKey("account_id", "scope"),
    Unique("account_id", "seq", name="purge_seq"),
)

# A file that the account sends or has sent. Its bytes are beside the database, and they alone say whether it is whole.
blob = Table(
    "blob",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("sha256", Hash, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("touched_ms", BigInteger, nullable=False),
    PrimaryKey("account_id", "sha256"),
)

lease = Table(
    "lease",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("answer", EntityId, nullable=False),
    Column("node_id", NodeId, nullable=False),
    Column("token", BINARY(LEASE_TOKEN_BYTES), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    PrimaryKey("account_id", "answer"),
)

node = Table(
    "node",
    metadata,
    Column("node_id", NodeId, nullable=False),
    Column("name", String(MAX_DEVICE_NAME_CHARACTERS), nullable=False),
    Column("public_key", Hash, nullable=False),
    Column("key_id", String(43), nullable=False),
    # Enrolled through the data folder: serves every account of this server.
    Column("is_shared", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    # Null while it is there, and where nobody saw it go.
    Column("departure", String(16)),
    PrimaryKey("node_id"),
    Unique("key_id", name="node_key"),
)

node_grant = Table(
    "node_grant",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("node_id", NodeId, nullable=False),
    Column("device_id", DeviceId, nullable=False),
    Column("level", String(8), nullable=False),
    PrimaryKey("account_id", "node_id"),
    Unique("node_id", "account_id", name="node_grant_node"),
)

# A pairing code and what a node has said to it: once `node_nonce` is there its proof was good, and a person decides.
pairing = Table(
    "pairing",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("pairing_id", EntityId, nullable=False),
    Column("code_name", String(PAIRING_CODE_NAME_CHARACTERS), nullable=False),
    Column("code_hash", Hash, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("name", String(MAX_DEVICE_NAME_CHARACTERS)),
    Column("public_key", Hash),
    Column("sealing_key", Hash),
    Column("commitment", Hash),
    Column("server_nonce", Hash),
    Column("node_nonce", Hash),
    Column("decision", String(8)),
    PrimaryKey("account_id", "pairing_id"),
    Unique("code_name", name="pairing_code"),
)

# Tokens that are over before their time: the account's, or one device's, issued before `before_s`.
revocation = Table(
    "revocation",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("device_id", DeviceId),
    Column("before_s", BigInteger, nullable=False),
    PrimaryKey("account_id", "number"),
)

refresh_token = Table(
    "refresh_token",
    metadata,
    Column("account_id", AccountId, nullable=False),
    Column("token_hash", Hash, nullable=False),
    Column("device_id", DeviceId, nullable=False),
    Column("family", BINARY(16), nullable=False),
    Column("login_ms", BigInteger, nullable=False),
    Column("issued_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    PrimaryKey("account_id", "token_hash"),
)

invitation = Table(
    "invitation",
    metadata,
    Column("code_hash", Hash, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger),
    PrimaryKey("code_hash"),
)

server_setting = Table(
    "server_setting",
    metadata,
    Column("name", String(64), nullable=False),
    Column("value", String(255), nullable=False),
    PrimaryKey("name"),
)
