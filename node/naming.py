"""What VOICE and AUTHOR mean on the command line: ids, names, and unambiguous beginnings of them.

Not for judging whether a name can be believed (names.py). Follows specs/catalog.md, "VOICE".
"""

from collections.abc import Collection

from p2pvoice.node import base_tables
from p2pvoice.node.releases import Releases
from p2pvoice.protocol.errors import NotFoundError, UsageError
from p2pvoice.protocol.ids import parse_author_id
from p2pvoice.protocol.manifest import Release

#: Shortest beginning of a release id or author id that is looked up.
BEGINNING_MINIMUM = 4

#: Candidates an ambiguous name lists.
CANDIDATES_LIMIT = 8

_DID = "did:key:"


class Naming(Releases):
    """From references to releases."""

    def author_named(self, ref: str) -> str:
        """The author id that is meant by itself, or by a beginning of one that is known here.

        Raises UsageError when several fit, NotFoundError when none does.
        """
        wanted = ref if ref.startswith(_DID) else _DID + ref
        try:
            parse_author_id(wanted)
        except UsageError:
            pass
        else:
            return wanted
        if len(wanted) < len(_DID) + BEGINNING_MINIMUM:
            raise UsageError(f"{ref!r} is too short to mean an author")
        rows = self._database.rows(
            "SELECT DISTINCT author FROM releases WHERE author >= ? AND author < ? ORDER BY author LIMIT ?",
            (wanted, wanted + "\x7f", CANDIDATES_LIMIT + 1),
        )
        if len(rows) > 1:
            raise _ambiguous(ref, [str(row["author"]) for row in rows])
        if not rows:
            raise NotFoundError(f"no author by the name {ref!r} is known here", hint="p2pvoice show VOICE")
        return str(rows[0]["author"])

    def names_of(self, authors: Collection[str], limit: int) -> list[tuple[str, str, str]]:
        """(author, slug, newest release id) of each voice known by these authors, the newest voices first."""
        marks = ",".join("?" * len(authors))
        rows = self._database.rows(
            # SQLite takes the id from the row that has the greatest time of creation.
            "SELECT r.author, r.slug, r.id, MAX(r.created) AS newest FROM releases r"
            f" WHERE r.author IN ({marks}) AND {base_tables.VOICES_ONLY}"
            " GROUP BY r.author, r.slug ORDER BY newest DESC, r.author, r.slug LIMIT ?",
            [*authors, limit],
        )
        return [(str(row["author"]), str(row["slug"]), str(row["id"])) for row in rows]

    def resolve(self, ref: str, *, prefer_installed: bool = False) -> Release:
        """The release that VOICE names: a release id, ``author/slug``, or an unambiguous beginning of either.

        A bare slug, and an author without ``did:key:``, are taken too when only one voice fits. A name
        of a voice means its newest release, or the installed one when that is preferred and there is one.
        Raises UsageError listing the candidates when several fit, NotFoundError when none does.
        """
        exact = self.release(ref)
        if exact is not None:
            return exact
        if len(ref) >= BEGINNING_MINIMUM and "/" not in ref:
            rows = self._database.rows(
                "SELECT id FROM releases WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (ref, ref + "\x7f", CANDIDATES_LIMIT + 1),
            )
            if len(rows) > 1:
                raise _ambiguous(ref, [str(row["id"]) for row in rows])
            if rows:
                return self._known(str(rows[0]["id"]))
        voices = self._voices_named(ref)
        if len(voices) > 1:
            raise _ambiguous(ref, [f"{author}/{slug}" for author, slug in voices])
        if not voices:
            raise NotFoundError(f"no voice by the name {ref!r} is known here", hint="p2pvoice find --tag …")
        return self._known(self._newest(*voices[0], prefer_installed=prefer_installed))

    def _voices_named(self, ref: str) -> list[tuple[str, str]]:
        author, slash, slug = ref.rpartition("/")
        if not slash:
            # An author's name for a voice goes along to the key that came after, once it is published there.
            rows = self._database.rows(
                "SELECT DISTINCT author, slug FROM releases r WHERE slug=? AND NOT EXISTS"
                " (SELECT 1 FROM successors s JOIN releases n ON n.author=s.new AND n.slug=r.slug"
                " WHERE s.old=r.author)",
                (ref,),
            )
            if rows:
                return [(row["author"], row["slug"]) for row in rows]
            author, slug = ref, ""
        if author and not author.startswith(_DID):
            author = _DID + author
        if len(author) < len(_DID) + BEGINNING_MINIMUM:
            return []
        rows = self._database.rows(
            "SELECT DISTINCT author, slug FROM releases"
            " WHERE author >= ? AND author < ? AND slug >= ? AND slug < ? ORDER BY author, slug",
            (author, author + "\x7f", slug, slug + "\x7f"),
        )
        voices = [(str(row["author"]), str(row["slug"])) for row in rows]
        whole = [voice for voice in voices if voice == (author, slug)]
        same_slug = [voice for voice in voices if voice[1] == slug]
        return whole or (same_slug if len(same_slug) == 1 else voices)

    def _newest(self, author: str, slug: str, *, prefer_installed: bool) -> str:
        if prefer_installed:
            installed = self.installed_release(author, slug)
            if installed is not None:
                return installed.release
        head = self.head(author, slug)
        if head is not None and self.release_bytes(head.release) is not None:
            return head.release
        row = self._database.row(
            "SELECT id FROM releases WHERE author=? AND slug=? ORDER BY created DESC, id LIMIT 1",
            (author, slug),
        )
        assert row is not None
        return str(row["id"])

    def _known(self, identifier: str) -> Release:
        release = self.release(identifier)
        if release is None:
            raise NotFoundError(f"release {identifier} is not known here")
        return release


def _ambiguous(ref: str, candidates: list[str]) -> UsageError:
    listed = ", ".join(candidates[:CANDIDATES_LIMIT])
    more = " …" if len(candidates) > CANDIDATES_LIMIT else ""
    return UsageError(f"{ref!r} could mean several voices: {listed}{more}", hint="give more of the name")
