// Blocks as elements. Marks, {start, end, number} places of the source, become <mark> around their words.

import { h } from "../dom.js";
import { inline, joined } from "./inline.js";

/** The element of a block of `source`. */
export function renderBlock(source, block, marks = []) {
    const paint = new Painter(source, marks.filter((mark) => mark.start < block.end && mark.end > block.start));
    return paint.block(block);
}

/** Text [start, end) of `source` as it is, with its marks. */
export function renderText(source, start, end, marks = []) {
    return new Painter(source, marks).raw([[start, end]]);
}

class Painter {
    constructor(source, marks) {
        this.source = source;
        this.marks = marks;
        this.begun = new Set();
    }

    block(block) {
        switch (block.kind) {
            case "heading":
                return h(`h${block.level}`, {}, this.inline(block.lines));
            case "code":
                return h("pre", { tabindex: 0, role: "region", "aria-label": "Code" }, h("code", {}, this.raw(block.lines)));
            case "rule":
                return h("hr");
            case "quote":
                return h("blockquote", {}, block.blocks.map((inner) => this.block(inner)));
            case "list":
                return h(
                    block.ordered ? "ol" : "ul",
                    block.ordered && block.first !== 1 ? { start: block.first } : {},
                    block.items.map((item) => h("li", {}, this.item(item))),
                );
            case "table":
                return this.table(block);
            default:
                return h("p", {}, this.inline(block.lines));
        }
    }

    /** Of an item that is one paragraph there are only the words. */
    item(blocks) {
        if (blocks.length && blocks[0].kind === "paragraph")
            return [this.inline(blocks[0].lines), blocks.slice(1).map((inner) => this.block(inner))];
        return blocks.map((inner) => this.block(inner));
    }

    table({ head, rows, align }) {
        const cell = (tag, pair, i) => h(tag, { class: `to-${align[i] ?? "left"}` }, pair ? this.inline([pair]) : null);
        const columns = head.map((_, i) => i);
        return h(
            "div.table-frame",
            { tabindex: 0, role: "region", "aria-label": "Table" },
            h(
                "table",
                {},
                h("thead", {}, h("tr", {}, head.map((pair, i) => cell("th", pair, i)))),
                h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((i) => cell("td", row[i], i))))),
            ),
        );
    }

    inline(lines) {
        const { text, at } = joined(this.source, lines);
        return this.pieces(inline(text), text, at);
    }

    raw(lines) {
        const { text, at } = joined(this.source, lines);
        return this.text(text, at, 0, text.length);
    }

    pieces(pieces, text, at) {
        return pieces.map((piece) => {
            if (piece.tag === "br") return h("br");
            if (!piece.tag) return this.text(text, at, piece.from, piece.to);
            const children = this.pieces(piece.children, text, at);
            if (piece.tag !== "a") return h(piece.tag, {}, children);
            return h("a", { href: piece.href, target: "_blank", rel: "noopener noreferrer" }, children);
        });
    }

    /** text[from, to) cut where marks begin and end. */
    text(text, at, from, to) {
        const nodes = [];
        let start = from;
        while (start < to) {
            const mark = this.marks.find(({ start: a, end: b }) => at[start] >= a && at[start] < b);
            let end = start + 1;
            while (end < to && (mark ? at[end] < mark.end : !this.marks.some(({ start: a, end: b }) => at[end] >= a && at[end] < b)))
                end += 1;
            const words = text.slice(start, end);
            nodes.push(mark ? this.mark(mark, words) : words);
            start = end;
        }
        return nodes;
    }

    mark({ number }, words) {
        const begins = !this.begun.has(number);
        this.begun.add(number);
        return h(begins ? "mark.begins" : "mark", { "data-passage": number }, words);
    }
}
