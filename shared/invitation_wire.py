"""Bodies of /api/v1/invitations: with one of them one more person makes an account. For the server's owner."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

InvitationStage = Literal["open", "used", "expired"]


class Invitation(Struct, frozen=True):
    """One that was made; its code is told nobody again. Times are in milliseconds since 1970."""

    invitation_id: str
    stage: InvitationStage
    created_ms: int
    expires_ms: int


class NewInvitation(Struct, frozen=True):
    """POST /api/v1/invitations: the code, told this once. The link is `<address>/welcome?invitation=<code>`."""

    invitation: Invitation
    code: str


class Invitations(Struct, frozen=True):
    """GET /api/v1/invitations: the newest first; DELETE /api/v1/invitations/{id} takes one back."""

    invitations: list[Invitation]
