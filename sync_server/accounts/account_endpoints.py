"""HTTP of accounts: register, log in, renew, log out, tokens, devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shared.errors import Code, DomovoiError
from shared.limits import DEVICE_ID_BYTES, REFRESH_IDLE_S
from shared.tokens import SYNC_AUDIENCE
from shared.wire import (
    Device,
    DeviceRename,
    Devices,
    DevicesNews,
    Login,
    PasswordChange,
    Registration,
    Session,
    TokenRequest,
)
from sync_server import clock
from sync_server.accounts.authentication import authenticated
from sync_server.accounts.caller import address_of
from sync_server.accounts.devices import key_thumbprint, list_devices, newest_login, rename_device, revoke_device
from sync_server.accounts.names import checked_device_name
from sync_server.content import answer, path_id, read_struct
from sync_server.nodes.nodes import find_by_device, nodes_of
from sync_server.nodes.unpairing import unpair
from sync_server.services import Services, services_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from sync_server.accounts.accounts import SignedIn


async def register(request: Request) -> Response:
    """Make an account: the first one with the setup code, later ones with an invitation."""
    services = services_of(request)
    signed_in = await services.accounts.register(await read_struct(request, Registration), address_of(request))
    await services.tunnels.grants_changed()
    return _session(request, signed_in)


async def login(request: Request) -> Response:
    """Log in with name and password."""
    services = services_of(request)
    signed_in = await services.accounts.login(await read_struct(request, Login), address_of(request))
    await devices_changed(services, signed_in.account_id)
    return _session(request, signed_in)


async def refresh(request: Request) -> Response:
    """Renew the login with its cookie."""
    return _session(request, await services_of(request).accounts.renew(_presented(request)))


async def logout(request: Request) -> Response:
    """End the login; the device stays."""
    await services_of(request).refresh_tokens.end(_presented(request))
    response = Response(status_code=204)
    response.delete_cookie(_cookie_name(request), path=_cookie_path(request), secure=_is_secure(request))
    return response


async def change_password(request: Request) -> Response:
    """Change the password. Every other browser is disconnected at once, with what it holds open."""
    services = services_of(request)
    caller = await authenticated(request)
    change = await read_struct(request, PasswordChange)
    for device_id in await services.accounts.change_password(caller, change, address_of(request)):
        services.streams.close_device(caller.account_id, device_id)
    services.tunnels.revocations_changed()
    await devices_changed(services, caller.account_id)
    return Response(status_code=204)


async def token(request: Request) -> Response:
    """Return a token for `sync` or for one of the account's nodes."""
    services = services_of(request)
    caller = await authenticated(request)
    audience = (await read_struct(request, TokenRequest)).audience
    kind, _, node_id = audience.partition(":")
    if audience == SYNC_AUDIENCE:
        return answer(request, services.keys.issue(caller.account_id, caller.device_id, audience))
    if kind != "node":
        raise DomovoiError(Code.BAD_REQUEST, "audience is sync or node:<node id>.")
    rows = await nodes_of(services.database, caller.account_id)
    if node_id not in {row["node_id"].hex() for row in rows}:
        raise DomovoiError(Code.NODE_UNKNOWN)
    thumbprint = await key_thumbprint(services.database, caller.account_id, caller.device_id)
    return answer(request, services.keys.issue(caller.account_id, caller.device_id, audience, thumbprint))


async def devices(request: Request) -> Response:
    """List the account's devices."""
    caller = await authenticated(request)
    rows = await list_devices(services_of(request).database, caller.account_id, caller.device_id)
    return answer(request, Devices(rows))


async def rename(request: Request) -> Response:
    """Rename a device."""
    caller = await authenticated(request)
    device_id = path_id(request, "device_id", DEVICE_ID_BYTES)
    name = checked_device_name((await read_struct(request, DeviceRename)).name)
    services = services_of(request)
    device: Device = await rename_device(services.database, caller.account_id, device_id, name, caller.device_id)
    await devices_changed(services, caller.account_id)
    return answer(request, device)


async def revoke(request: Request) -> Response:
    """Disconnect a device at once, with what it holds open."""
    services = services_of(request)
    caller = await authenticated(request)
    device_id = path_id(request, "device_id", DEVICE_ID_BYTES)
    node_id = await find_by_device(services.database, caller.account_id, device_id)
    if node_id is not None:
        await unpair(services, caller, node_id)
        return Response(status_code=204)
    await revoke_device(services.database, caller.account_id, device_id)
    services.streams.close_device(caller.account_id, device_id)
    services.tunnels.revocations_changed()
    await devices_changed(services, caller.account_id)
    return Response(status_code=204)


async def devices_changed(services: Services, account_id: bytes) -> None:
    """Tell the account's open streams that its devices are others than before, and of the newest login."""
    services.hub.publish(account_id, DevicesNews(await newest_login(services.database, account_id)))


def _session(request: Request, signed_in: SignedIn) -> Response:
    access = services_of(request).keys.issue(signed_in.account_id, signed_in.device_id, SYNC_AUDIENCE)
    session = Session(
        access_token=access.access_token,
        device_id=signed_in.device_id.hex(),
        account_id=signed_in.account_id.hex(),
        username=signed_in.username,
        expires_at=access.expires_at,
        server_ms=clock.now_ms(),
        is_owner=signed_in.is_owner,
    )
    response = answer(request, session)
    response.set_cookie(
        _cookie_name(request),
        signed_in.refresh_token,
        max_age=REFRESH_IDLE_S,
        path=_cookie_path(request),
        secure=_is_secure(request),
        httponly=True,
        samesite="strict",
    )
    return response


# `__Host-` proves that no neighbouring host set the cookie, but asks for https and the path `/`. On http the path
# is narrow instead, and the port is in the name, because cookies ignore ports.


def _is_secure(request: Request) -> bool:
    return request.url.scheme == "https"


def _cookie_name(request: Request) -> str:
    return "__Host-domovoi" if _is_secure(request) else f"domovoi-{services_of(request).settings.port}"


def _cookie_path(request: Request) -> str:
    return "/" if _is_secure(request) else "/api/v1/auth"


def _presented(request: Request) -> str:
    cookie = request.cookies.get(_cookie_name(request))
    if not cookie:
        raise DomovoiError(Code.LOGIN_ENDED)
    return cookie
