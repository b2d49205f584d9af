"""What all OpenDocument files have in common: an archive with one part for the content and one for the styles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from .archive import open_archive, parse_xml, read_part
from .errors import UnreadableError
from .odt_html import local

if TYPE_CHECKING:
    from zipfile import ZipFile

_TYPES = "application/vnd.oasis.opendocument."
_MANIFEST = "META-INF/manifest.xml"


@dataclass(frozen=True)
class OpenDocument:
    """body     the element of the content that holds the text, the sheets or the slides
    content, styles  the trees of these parts; an empty element where a file has no styles
    """

    body: Element
    content: Element
    styles: Element

    def styles_with(self, properties: str, attribute: str, *values: str) -> set[str]:
        """Names of the styles whose `properties` element has one of these values."""
        return {
            local(style, "name")
            for tree in (self.styles, self.content)
            for style in tree.iterfind(".//{*}style")
            if any(local(one, attribute) in values for one in style.iterfind("{*}" + properties))
        }


def has_type(archive: ZipFile, *kinds: str) -> bool:
    """Whether an archive is an OpenDocument file of one of these kinds, such as "text"; or a template of it."""
    if "mimetype" not in archive.namelist():
        return False
    named = archive.read("mimetype").strip().decode("ascii", "replace").removesuffix("-template")
    return named in {_TYPES + kind for kind in kinds}


@contextmanager
def open_document(data: bytes, name: str, kind: str, *bodies: str) -> Iterator[OpenDocument]:
    """A file whose body is one of these elements. Whatever goes wrong in the block raises ValueError, which names it.

    Raises ValueError for one that is broken, locked or too large, or has none of these.
    """
    with open_archive(data, name, kind) as archive:
        parts = archive.namelist()
        if _MANIFEST in parts:
            manifest = parse_xml(read_part(archive, _MANIFEST, name), name)
            if manifest.find(".//{*}encryption-data") is not None:
                raise UnreadableError(f"{name} is locked with a password: save it without one first")
        content = parse_xml(read_part(archive, "content.xml", name), name)
        styles = parse_xml(read_part(archive, "styles.xml", name), name) if "styles.xml" in parts else Element("none")
        found = (content.find("{*}body/{*}" + body) for body in bodies)
        body = next((one for one in found if one is not None), None)
        if body is None:
            raise UnreadableError(f"{name} has no {bodies[0]} in its content.xml")
        yield OpenDocument(body, content, styles)
