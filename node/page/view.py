"""How one request wants its page: language, light or dark, and the way back to the page's root.

Both choices are links (``?lang=zh``, ``?theme=dark``) that set a cookie and lead back; without one the
browser's Accept-Language and its colour scheme decide. Links are relative, so that the token of the address
never stands in a page. Not for what a page shows. Follows specs/page.md.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from p2pvoice.node.page.words import LANGUAGES, Words, preferred
from p2pvoice.protocol.errors import P2PVoiceError

CHOICES = {"lang": tuple(LANGUAGES), "theme": ("auto", "light", "dark")}
"""What can be chosen, and between what."""

SECTIONS = (("browse", ""), ("train", "train"), ("node", "node"))
"""The pages that every page leads to: name and path."""

QUERY_FIELDS = 64
"""Fields of an address's query; with more, none is looked at."""


@dataclass(frozen=True)
class View:
    """What every template knows beside its own facts."""

    words: Words
    theme: str
    #: The relative address of the page's root, such as ``../``.
    root: str
    #: Path of the page below the root, quoted, and its query.
    path: str
    query: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, request: Request) -> "View":
        """The view of a request: its cookies, else what its browser says."""
        lang = request.cookies.get("lang", "")
        if lang not in LANGUAGES:
            lang = preferred(request.headers.get("accept-language", ""))
        theme = request.cookies.get("theme", "")
        raw: bytes = request.scope["raw_path"]
        return cls(
            Words(lang),
            theme if theme in CHOICES["theme"] else "auto",
            "../" * (raw.count(b"/") - 1) or "./",
            raw.decode("ascii", "replace")[1:],
            tuple(_query(request)),
        )

    def switch(self, name: str, value: str) -> str:
        """The link that chooses a language or a theme and comes back here."""
        kept = [(key, old) for key, old in self.query if key not in CHOICES]
        return self.link(self.path, [*kept, (name, value)])

    def link(self, path: str, query: list[tuple[str, str]] | None = None) -> str:
        """A relative link to a path below the root; the path is quoted already."""
        return self.root + path + ("?" + urlencode(query) if query else "")

    def at_root(self) -> "View":
        """The view of something that will stand on the page's root."""
        return replace(self, root="./")

    def voice(self, ref: str) -> str:
        """The link to a voice."""
        return self.link("voice/" + quote(ref, safe=""))

    def author(self, author: str) -> str:
        """The link to an author."""
        return self.link("author/" + quote(author, safe=""))

    def render(self, template: str, status: int = 200, /, **facts: Any) -> Response:
        """The page of a template."""
        page = environment().get_template(template)
        section = next((name for name, path in SECTIONS if path == self.path), "")
        known = {"view": self, "t": self.words, "sections": SECTIONS, "section": section}
        return HTMLResponse(page.render(known | facts), status_code=status)


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates: everything is escaped, and a fact that is missing is an error."""
    return Environment(
        loader=PackageLoader("p2pvoice.node.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def chosen(request: Request) -> Response | None:
    """The answer to a link that chooses a language or theme: a cookie, and the way back. None for others."""
    picked = {name: value for name, value in _query(request) if name in CHOICES and value in CHOICES[name]}
    if not picked:
        return None
    view = View.of(request)
    back = RedirectResponse(
        view.link(view.path, [pair for pair in view.query if pair[0] not in CHOICES]), status_code=303
    )
    for name, value in picked.items():
        # The path of the cookie is the page's own root: it holds for this token and ends with the session.
        back.set_cookie(name, value, path=_root_path(request), httponly=True, samesite="strict")
    return back


def error_page(view: View, error: P2PVoiceError) -> Response:
    """An error as a page."""
    return view.render("error.html", type(error).http_status, error=error.to_dict())


def _root_path(request: Request) -> str:
    return str(request.scope["page_root"])


def _query(request: Request) -> list[tuple[str, str]]:
    text = request.scope["query_string"].decode("ascii", "replace")
    try:
        return parse_qsl(text, max_num_fields=QUERY_FIELDS)
    except ValueError:
        return []
