"""HTML: as browsers read it, mistakes and all."""

from __future__ import annotations

from .case import Case

LONG = "".join(f"<p>Paragraph {k} says <b>what</b> is <a href='#{k}'>due</a> in part {k}." for k in range(200))


def case(
    name: str, html: str | bytes, text: str, rows: tuple[tuple[str, ...], ...] = (), absent: tuple[str, ...] = ()
) -> Case:
    data = html.encode() if isinstance(html, str) else html
    return Case(f"{name}.html", lambda: data, text, rows=rows, absent=absent)


HTML = (
    case("simple", "<!doctype html><title>T</title><h1>Terms</h1><p>One <i>and</i> two.</p>", "Terms One and two."),
    case(
        "no-end-tags",
        "<ul><li>Apples<li>Pears</ul><table><tr><th>Item<th>Price<tr><td>Bolt<td>3 EUR</table>",
        "Apples Pears Item Price Bolt 3 EUR",
        (("Item", "Price"), ("Bolt", "3 EUR")),
    ),
    case(
        "unknown-blocks",
        "<header>H</header><aside>A</aside><details><summary>More</summary>Body</details><main>M<footer>F</footer></main>",
        "H A More Body M F",
    ),
    case(
        "rowspan",
        "<table><tr><th>Region</th><th>Product</th><th>Units</th></tr><tr><td rowspan=2>EU</td><td>Cable</td>"
        "<td>12</td></tr><tr><td>Hub</td><td>7</td></tr></table>",
        "Region Product Units EU Cable 12 EU Hub 7",
        (("Region", "Product", "Units"), ("EU", "Cable", "12"), ("EU", "Hub", "7")),
    ),
    case(
        "colspan",
        "<table><tr><th>Item</th><th>2030</th><th>2031</th></tr><tr><td>Bolt</td><td colspan=2>free</td></tr>"
        "<tr><td>Nut</td><td></td><td>3</td></tr></table>",
        "Item 2030 2031 Bolt free free Nut 3",
        (("Item", "2030", "2031"), ("Bolt", "free", "free"), ("Nut", "", "3")),
    ),
    case(
        "spans-over-each-other",
        "<table><tr><th rowspan=2>Who</th><th colspan=2>Coins</th></tr><tr><th>June</th><th>July</th></tr>"
        "<tr><td>Tom</td><td>1</td><td>2</td></tr></table>",
        "Who Coins Coins Who June July Tom 1 2",
        (("Who", "Coins", "Coins"), ("Who", "June", "July"), ("Tom", "1", "2")),
    ),
    case(
        "hidden",
        "<style>.x{display:none} #y{visibility:hidden}</style><p>Seen.<p style='display: none'>secret1<p hidden>secret2"
        "<p class=x>secret3<p id=y>secret4<p style='color:#fff;background:white'>secret5<p>Also seen."
        "<div aria-hidden=true>shown all the same</div>",
        "Seen. Also seen. shown all the same",
        absent=("secret1", "secret2", "secret3", "secret4", "secret5"),
    ),
    case("scripts", "<script>if (a < b) x()</script><noscript>no</noscript><p>Text<!-- not --> here.", "Text here."),
    case(
        "entities",
        "<p>3 &lt; 5 &amp; 7 &euro; &#8212; &eacute;t&eacute; &amp;lt; x&nbsp;y",
        "3 < 5 & 7 € — été &lt; x y",
    ),
    case(
        "misnested", "<p><b>One <i>two</b> three</i> four.</p><div>five</span></div>six", "One two three four. five six"
    ),
    case(
        "table-in-p", "<p>Before<table><td>cell<td>other</table>after", "Before cell other after", (("cell", "other"),)
    ),
    case(
        "foster",
        "<table><tr><td>in</td><td>side</td></tr>stray</table>",
        "stray in side",
        (("in", "side"),),
    ),
    case(
        "definition-list", "<dl><dt>Mill<dd>grinds corn<dt>Inn<dd>serves it</dl>", "Mill : grinds corn Inn : serves it"
    ),
    case("pre", "<pre>a = 1\n  b = 2</pre><p>Code.", "a = 1 b = 2 Code."),
    case("latin", "<meta charset=iso-8859-1><p>Löffel für 3 €".encode("cp1252"), "Löffel für 3 €"),
    case("line-breaks", "<p>One<br>two<br/>three<hr>four", "One two three --- four"),
    case(
        "empty-cells",
        "<table><tr><th>a<th>b<th>c<tr><td><td>2<td><tr><td>1<td><td>3</table>",
        "a b c 2 1 3",
        (("", "2", ""), ("1", "", "3")),
    ),
    case("nested-table", "<table><tr><td>out<td><table><tr><td>in1<td>in2</table></table>", "out in1 in2"),
    case("form", "<form><label>Name: <input value=Zimmermann></label><button>Send</button></form>", "Name: Zimmermann"),
    case("long", f"<html><body>{LONG}", " ".join(f"Paragraph {k} says what is due in part {k}." for k in range(200))),
    case("languages", "<p lang=he dir=rtl>שלום 12 עולם<p>你好，世界<p>Ünïcödé", "שלום 12 עולם 你好，世界 Ünïcödé"),
)
