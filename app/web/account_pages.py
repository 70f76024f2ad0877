"""Signing in and out, the one-time welcome link, and settings."""

from __future__ import annotations

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import BadInput, NotAllowed
from app.storage import accounts, audit
from app.storage.engine import session_scope
from app.storage.tables_access import Owner
from app.web.authorize import OwnerPrincipal
from app.web.contexts import FormError, LoginPage, SettingsPage, TokenRow, WelcomePage
from app.web.credentials import SESSION_SECONDS, Cookies
from app.web.errors import safe_next
from app.web.guard import caller_of, owner_of
from app.web.rate_limit import WrongSecrets, address_of
from app.web.render import THEMES, Place, Renderer

_YEAR = 365 * 86_400
_DIFFERENT = FormError("password_again", "The two passwords differ. Type the same one twice.")


class AccountPages:
    def __init__(
        self, engine: Engine, render: Renderer, cookies: Cookies, wrong: WrongSecrets
    ) -> None:
        self._engine = engine
        self._render = render
        self._cookies = cookies
        self._wrong = wrong

    # Sign-in

    def login_form(self, request: Request) -> Response:
        """GET /login"""
        next_url = safe_next(request.query_params.get("next", ""))
        if isinstance(caller_of(request).principal, OwnerPrincipal):
            return RedirectResponse(next_url, 303)
        return self._login(request, LoginPage(next_url))

    def login(self, request: Request) -> Response:
        """POST /login"""
        form = caller_of(request).form
        name, next_url = form.get("name", ""), safe_next(form.get("next", ""))
        tries = self._wrong.count(address_of(request), name)
        with session_scope(self._engine) as session:
            owner = accounts.check_password(session, name, form.get("password", ""))
            if owner is not None:
                secret = self._start_session(session, request, owner)
                audit.record(session, f"owner {owner.name}", "sign in")
            else:
                # The typed name is not kept: people type their password there by mistake.
                audit.record(session, "anonymous", "sign in", address_of(request), "refused")
        if owner is None:
            error = FormError("password", "Name or password is wrong. Try again.")
            return self._login(request, LoginPage(next_url, error, name), status=403)
        tries.forget()
        return self._signed_in(next_url, secret)

    def _login(self, request: Request, page: LoginPage, status: int = 200) -> Response:
        return self._render.page(request, "login.html", page, Place("Sign in"), status=status)

    def _start_session(self, session: Session, request: Request, owner: Owner) -> str:
        former = request.cookies.get(self._cookies.session)
        return accounts.start_session(
            session, owner, replaces=accounts.digest(former) if former else None
        )

    def _signed_in(self, next_url: str, secret: str) -> Response:
        response = RedirectResponse(next_url, 303)
        self._cookies.set(response, self._cookies.session, secret, seconds=SESSION_SECONDS)
        self._cookies.drop(response, self._cookies.visitor)
        return response

    def logout(self, request: Request) -> Response:
        """POST /logout"""
        owner = owner_of(request)
        with session_scope(self._engine) as session:
            accounts.end_session(session, owner.session_hash)
            audit.record(session, owner.label, "sign out")
        response = RedirectResponse("/login", 303)
        self._cookies.drop(response, self._cookies.session)
        # Previews and thumbnails may be in the browser's cache; the next person has no claim to them.
        response.headers["Clear-Site-Data"] = '"cache"'
        return response

    # The one-time link

    def welcome_form(self, request: Request) -> Response:
        """GET /welcome/{token}"""
        token = request.path_params["token"]
        with session_scope(self._engine) as session:
            valid = accounts.welcome_is_valid(session, token)
            owner = accounts.first_owner(session) if valid else None
        return self._welcome(request, WelcomePage(token, valid, name=owner.name if owner else ""))

    def welcome(self, request: Request) -> Response:
        """POST /welcome/{token}"""
        form, token = caller_of(request).form, request.path_params["token"]
        name, password = form.get("name", ""), form.get("password", "")
        if password != form.get("password_again"):
            return self._welcome(request, WelcomePage(token, True, _DIFFERENT, name), 422)
        tries = self._wrong.count(address_of(request), "")
        try:
            with session_scope(self._engine) as session:
                owner = accounts.use_welcome_link(session, token, name, password)
                secret = self._start_session(session, request, owner)
                audit.record(session, f"owner {owner.name}", "use welcome link")
        except BadInput as error:
            tries.forget()
            field = "password" if "password" in error.message else "name"
            page = WelcomePage(token, True, FormError(field, str(error)), name)
            return self._welcome(request, page, 422)
        except NotAllowed:
            self._audit("anonymous", "use welcome link", address_of(request), "refused")
            return self._welcome(request, WelcomePage(token, False), 403)
        tries.forget()
        return self._signed_in("/events", secret)

    def _welcome(self, request: Request, page: WelcomePage, status: int = 200) -> Response:
        headers = {"Cache-Control": "no-store"}
        return self._render.page(
            request, "welcome.html", page, Place("Welcome"), status=status, headers=headers
        )

    # Settings

    def settings(self, request: Request) -> Response:
        """GET /settings"""
        return self._settings(request)

    def set_theme(self, request: Request) -> Response:
        """POST /settings/theme"""
        theme = caller_of(request).form.get("theme", "")
        if theme not in THEMES:
            error = FormError("theme", f"The theme is one of {', '.join(THEMES)}.")
            return self._settings(request, error=error)
        response = RedirectResponse("/settings", 303)
        self._cookies.set(response, self._cookies.theme, theme, seconds=_YEAR)
        return response

    def set_password(self, request: Request) -> Response:
        """POST /settings/password"""
        form, owner = caller_of(request).form, owner_of(request)
        new = form.get("password", "")
        if new != form.get("password_again"):
            return self._settings(request, error=_DIFFERENT)
        tries = self._wrong.count(address_of(request), owner.name)
        try:
            with session_scope(self._engine) as session:
                accounts.change_password(session, owner.id, form.get("current", ""), new)
                found = session.get_one(Owner, owner.id)
                secret = accounts.start_session(session, found)
                audit.record(session, owner.label, "change password")
        except NotAllowed as error:
            self._audit(owner.label, "change password", "", "refused")
            return self._settings(request, error=FormError("current", str(error)))
        except BadInput as error:
            tries.forget()
            return self._settings(request, error=FormError("password", str(error)))
        tries.forget()
        response = RedirectResponse("/settings?saved=password", 303)
        self._cookies.set(response, self._cookies.session, secret, seconds=SESSION_SECONDS)
        return response

    def create_token(self, request: Request) -> Response:
        """POST /settings/tokens"""
        form, owner = caller_of(request).form, owner_of(request)
        try:
            with session_scope(self._engine) as session:
                token, plain = accounts.create_token(
                    session, form.get("name", ""), form.get("scope", "read")
                )
                audit.record(session, owner.label, "create token", f"{token.id} {token.scope}")
        except BadInput as error:
            return self._settings(request, error=FormError("name", str(error)))
        return self._settings(request, new_token=plain)

    def revoke_token(self, request: Request) -> Response:
        """POST /settings/tokens/{token_id}/revoke"""
        owner, token_id = owner_of(request), request.path_params["token_id"]
        with session_scope(self._engine) as session:
            accounts.revoke_token(session, token_id)
            audit.record(session, owner.label, "revoke token", str(token_id))
        return RedirectResponse("/settings?saved=revoked", 303)

    def _settings(
        self, request: Request, *, error: FormError | None = None, new_token: str | None = None
    ) -> Response:
        with session_scope(self._engine) as session:
            tokens = accounts.tokens(session)
        page = SettingsPage(
            theme=self._render.theme(request),
            tokens=[
                TokenRow(t.id, t.name, t.scope, t.prefix, t.created_at, t.last_used_at)
                for t in tokens
            ],
            new_token=new_token,
            saved=_SAVED.get(request.query_params.get("saved", ""), ""),
            error=error,
        )
        return self._render.page(
            request,
            "settings.html",
            page,
            Place("Settings", "settings"),
            status=422 if error else 200,
            headers={"Cache-Control": "no-store"},
        )

    def _audit(self, actor: str, action: str, object_: str, result: str) -> None:
        with session_scope(self._engine) as session:
            audit.record(session, actor, action, object_, result)


_SAVED = {
    "password": "Your password is changed. Every other browser is signed out.",
    "revoked": "The token is revoked and no longer works.",
}
