"""The content of an ODT file as HTML, which is turned to text as other HTML is."""

from __future__ import annotations

from html import escape
from xml.etree.ElementTree import Element

_DROPPED = {"tracked-changes", "sequence-decls", "variable-decls", "user-field-decls", "forms", "table-of-content"}
_DROPPED |= {"alphabetical-index", "illustration-index", "table-index", "bibliography", "image", "object", "math"}
_BLOCKS = {"section", "text-box", "table-header-rows", "table-row-group", "table-rows"}
_MOST_REPEATED = 100  # empty rows and cells at the end of a table are told as thousands


def local(element: Element, name: str) -> str:
    """An attribute by its name without a namespace; empty where there is none."""
    return next((value for key, value in element.attrib.items() if key.rpartition("}")[2] == name), "")


def tag_of(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def numbered_headings(styles: Element) -> bool:
    """Whether the styles number headings."""
    return any(local(level, "num-format") for level in styles.iterfind(".//{*}outline-style/{*}outline-level-style"))


class OdtHtml:
    """Knows which styles are hidden and which lists are numbered."""

    def __init__(self, content: Element, styles: Element) -> None:
        self._hidden: set[str] = set()
        self._lists: dict[str, list[Element]] = {}
        self._last_number: dict[str, int] = {}
        for tree in (styles, content):
            for style in tree.iterfind(".//{*}style"):
                if any(local(one, "display") == "none" for one in style.iterfind("{*}text-properties")):
                    self._hidden.add(local(style, "name"))
            for style in tree.iterfind(".//{*}list-style"):
                self._lists[local(style, "name")] = list(style)

    def html(self, body: Element) -> str:
        """All blocks of the body."""
        return "<html><body>" + self._blocks(body) + "</body></html>"

    def _blocks(self, parent: Element, style: str = "", depth: int = 0) -> str:
        return "".join(self._block(child, style, depth) for child in parent)

    def _block(self, element: Element, style: str, depth: int) -> str:
        tag = tag_of(element)
        if tag == "h":
            level = local(element, "outline-level")
            level = str(min(max(int(level), 1), 6)) if level.isdecimal() else "1"
            return f"<h{level}>{self._inline(element)}</h{level}>"
        if tag == "p":
            return f"<p>{self._inline(element)}</p>"
        if tag == "list":
            return self._list(element, local(element, "style-name") or style, depth)
        if tag == "table":
            return f"<table>{self._rows(element)}</table>"
        if tag == "section" and local(element, "display") == "none":
            return f'<div hidden="">{self._blocks(element, style, depth)}</div>'
        if tag in _BLOCKS:
            return f"<div>{self._blocks(element, style, depth)}</div>"
        if tag == "frame":
            return "".join(self._block(child, style, depth) for child in element)
        return ""

    def _list(self, element: Element, style: str, depth: int) -> str:
        levels = self._lists.get(style, [])
        level = levels[depth] if depth < len(levels) else None
        ordered = level is not None and tag_of(level) == "list-level-style-number" and bool(local(level, "num-format"))
        key = f"{style}/{depth}"
        goes_on = local(element, "continue-numbering") == "true" or bool(local(element, "continue-list"))
        begin = local(level, "start-value") if level is not None else ""
        number = self._last_number.get(key, 0) if goes_on else (int(begin) - 1 if begin.isdecimal() else 0)
        items = []
        for item in element:
            if tag_of(item) not in ("list-item", "list-header"):
                continue
            given = local(item, "start-value")
            number = int(given) if given.isdecimal() else number + (tag_of(item) == "list-item")
            value = f' value="{number}"' if ordered else ""
            items.append(f"<li{value}>{self._blocks(item, style, depth + 1)}</li>")
        self._last_number[key] = number
        name = "ol" if ordered else "ul"
        return f"<{name}>{''.join(items)}</{name}>"

    def _rows(self, table: Element) -> str:
        rows = []
        for row in table:
            tag = tag_of(row)
            if tag in _BLOCKS:
                rows.append(self._rows(row))
            elif tag == "table-row":
                cells = "".join(self._cell(cell) for cell in row)
                rows += [f"<tr>{cells}</tr>"] * _repeated(row, "number-rows-repeated")
        return "".join(rows)

    def _cell(self, cell: Element) -> str:
        if tag_of(cell) != "table-cell":  # one that is covered by another
            return ""
        spans = ""
        for name, html_name in (("number-columns-spanned", "colspan"), ("number-rows-spanned", "rowspan")):
            value = local(cell, name)
            spans += f' {html_name}="{value}"' if value.isdecimal() and value != "1" else ""
        return f"<td{spans}>{self._blocks(cell)}</td>" * _repeated(cell, "number-columns-repeated")

    def _inline(self, element: Element) -> str:
        pieces = [escape(element.text or "", quote=False)]
        for child in element:
            tag = tag_of(child)
            if tag == "s":
                count = local(child, "c")
                pieces.append(" " * min(int(count), 1000) if count.isdecimal() else " ")
            elif tag == "tab":
                pieces.append(" ")
            elif tag == "line-break":
                pieces.append("<br>")
            elif tag == "note":
                pieces.append(f" [{self._note(child)}]")
            elif tag == "annotation":
                pieces.append(f" [Comment: {self._note(child)}]")
            elif local(child, "style-name") in self._hidden and tag == "span":
                pieces.append(f'<span hidden="">{self._inline(child)}</span>')
            elif tag == "frame":
                texts = [self._note(box) for box in child if tag_of(box) == "text-box"]
                pieces += [f" {text} " for text in texts]
            elif tag not in _DROPPED and tag != "annotation-end":
                pieces.append(self._inline(child))
            pieces.append(escape(child.tail or "", quote=False))
        return "".join(pieces)

    def _note(self, note: Element) -> str:
        """The paragraphs of a note, a comment or a box, in one line."""
        paragraphs = [one for one in note.iter() if tag_of(one) in ("p", "h")]
        return " ".join(self._inline(one).strip() for one in paragraphs)


def _repeated(element: Element, name: str) -> int:
    value = local(element, name)
    count = int(value[:9]) if value.isdecimal() else 1
    return count if 1 <= count <= _MOST_REPEATED else 1
