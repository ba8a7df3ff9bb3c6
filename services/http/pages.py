"""The pages of a site: files below one folder, and nothing else."""

from typing import Any

from twisted.web import http, pages, static

MOST_RANGES = 8  # more in one request only make the server work (RFC 9110 14.2)
TEXT = ("text/", "application/json", "application/javascript", "image/svg+xml")


def _types() -> dict[str, str]:
    """Name the character set of every kind of text, so that no browser guesses."""
    known = {
        **static.loadMimeTypes(),
        ".gz": "application/gzip",
        ".md": "text/markdown",
        ".webp": "image/webp",
        ".woff2": "font/woff2",
    }
    return {
        ending: f"{kind}; charset=utf-8" if kind.startswith(TEXT) else kind
        for ending, kind in known.items()
    }


class Pages(static.File):
    """A folder of files, as `twisted.web.static.File` serves it, but stricter.

    A folder is listed only where that is wanted; a name that no file can have is not
    found; a request for a great many ranges gets the whole file.
    """

    contentTypes = _types()  # noqa: N815 - Twisted's name
    childNotFound: Any = pages.notFound(message="There is no such page here.")  # noqa: N815
    lists_folders = False

    def __init__(self, path: str, *rest: Any) -> None:
        super().__init__(path, "application/octet-stream", *rest[1:])
        self.indexNames = ["index.html", "index.htm"]
        self.contentEncodings = {}  # an archive stays packed

    def getChild(self, path: bytes, request: http.Request) -> Any:
        """Find a file; what the file system itself refuses is not found."""
        try:
            child: Any = super().getChild(path, request)
        except (ValueError, OSError):
            return self.childNotFound
        return child

    def directoryListing(self) -> Any:
        """List a folder without an index, or keep it to oneself."""
        if not self.lists_folders:
            return pages.forbidden(message="This folder has no index.html.")
        return super().directoryListing()

    def makeProducer(self, request: http.Request, fileForReading: Any) -> Any:
        """Send the file, or the part of it that was asked for."""
        wanted = request.getHeader(b"range") or b""
        if wanted.count(b",") >= MOST_RANGES:
            request.requestHeaders.removeHeader(b"range")
        return super().makeProducer(request, fileForReading)


class OpenPages(Pages):
    """Pages whose folders may be listed."""

    lists_folders = True
