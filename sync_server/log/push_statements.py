"""The statements of a push, in the order in which it runs them; parameters are named as in `push`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, BindParameter, Select, Table, bindparam, func, select

from shared.change import Change
from sync_server.store.prepared import Prepared
from sync_server.store.tables import account, cell, device

if TYPE_CHECKING:
    from sqlalchemy.sql.dml import Insert

    from sync_server.store.dialect import Dialect


def _binds(name: str, count: int, table: Table) -> list[BindParameter[object]]:
    return [bindparam(f"{name}_{index}", type_=table.c[name].type) for index in range(count)]


def _held_statement(_: Dialect, etypes: int, eids: int) -> Select[tuple[object, ...]]:
    columns = cell.c
    return select(
        columns.etype, columns.eid, columns.field, columns.clk, func.length(columns.value).label("size")
    ).where(
        columns.account_id == bindparam("account"),
        columns.etype.in_(_binds("etype", etypes, cell)),
        columns.eid.in_(_binds("eid", eids, cell)),
    )


def _upsert_statement(dialect: Dialect, count: int) -> Insert:
    names = ("dseq", "seq", *Change.__struct_fields__)
    rows: list[dict[str, Any]] = [
        {"account_id": bindparam("account"), **{name: bindparam(f"{name}_{index}") for name in names}}
        for index in range(count)
    ]
    return dialect.upsert(cell, rows)


_THE_ACCOUNT = account.c.account_id == bindparam("account")
_THE_DEVICE = (device.c.account_id == bindparam("account")) & (device.c.device_id == bindparam("device"))

RAISE_HEAD = Prepared(
    lambda _: account.update().where(_THE_ACCOUNT).values(head=account.c.head + bindparam("count", type_=BigInteger()))
)
BOOKS = Prepared(
    lambda _: (
        select(
            account.c.head,
            account.c.epoch,
            account.c.bytes_used,
            account.c.quota_bytes,
            account.c.purges,
            device.c.last_dseq,
            device.c.last_hash,
            device.c.revoked_ms,
        )
        .join_from(account, device, account.c.account_id == device.c.account_id)
        .where(_THE_ACCOUNT, device.c.device_id == bindparam("device"))
        .with_for_update()
    )
)
HELD = Prepared(_held_statement)
UPSERT = Prepared(_upsert_statement)
KEEP_BOOKS = Prepared(
    lambda _: (
        account.update().where(_THE_ACCOUNT).values(head=bindparam("new_head"), bytes_used=bindparam("new_bytes_used"))
    )
)
MOVE_DEVICE = Prepared(
    lambda _: (
        device.update()
        .where(_THE_DEVICE)
        .values(last_dseq=bindparam("new_dseq"), last_hash=bindparam("new_hash"), last_seen_ms=bindparam("seen_ms"))
    )
)
