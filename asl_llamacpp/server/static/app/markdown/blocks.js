// Markdown's blocks: headings, paragraphs, lists, tables, code, quotations. A block knows its place in the source.

import { isTable, table } from "./table.js";

const ITEM = /^( *)([-*+•]|\d{1,9}[.)])(?: +|$)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})(.*)$/;
const RULE = /^ {0,3}([-*_])(?: *\1){2,} *$/;
const HEADING = /^ {0,3}(#{1,6})(?: +|$)/;
const QUOTE = /^ {0,3}> ?/;
const DEEPEST = 12;

/** The lines of a text, [start, end) each. */
export function linesOf(source) {
    const lines = [];
    let start = 0;
    for (;;) {
        const end = source.indexOf("\n", start);
        lines.push([start, end < 0 ? source.length : end]);
        if (end < 0) return lines;
        start = end + 1;
    }
}

/** Blocks {kind, start, end, ...}: "heading" level lines; "paragraph" lines; "code" language lines; "rule"; "quote"
 * blocks; "list" ordered first items; "table" head rows align. `lines` are [start, end) places in `source`. */
export function blocks(source, lines = linesOf(source), depth = 0) {
    const found = [];
    const of = ([start, end]) => source.slice(start, end);
    let i = 0;
    const add = (block, from, to) =>
        found.push({ ...block, start: lines[from][0], end: lines[Math.max(from, to - 1)][1] });
    while (i < lines.length) {
        const line = of(lines[i]);
        const from = i;
        let match;
        if (!line.trim()) {
            i += 1;
        } else if ((match = FENCE.exec(line))) {
            const closing = new RegExp(`^ {0,3}${match[1][0] === "`" ? "`" : "~"}{${match[1].length},} *$`);
            i += 1;
            while (i < lines.length && !closing.test(of(lines[i]))) i += 1;
            const inner = lines.slice(from + 1, i);
            i = Math.min(i + 1, lines.length);
            add({ kind: "code", language: match[2].trim(), lines: inner }, from, i);
        } else if ((match = HEADING.exec(line))) {
            const [start, end] = lines[i];
            const closed = line.replace(/(?: +#+)? *$/, "").length;
            i += 1;
            add({ kind: "heading", level: match[1].length, lines: [[Math.min(start + match[0].length, end), start + Math.max(closed, match[0].length)]] }, from, i);
        } else if (RULE.test(line)) {
            i += 1;
            add({ kind: "rule" }, from, i);
        } else if (depth < DEEPEST && QUOTE.test(line)) {
            const inner = [];
            while (i < lines.length && (match = QUOTE.exec(of(lines[i])))) {
                inner.push([lines[i][0] + match[0].length, lines[i][1]]);
                i += 1;
            }
            add({ kind: "quote", blocks: blocks(source, inner, depth + 1) }, from, i);
        } else if (depth < DEEPEST && (match = ITEM.exec(line))) {
            const { list, next } = listAt(source, lines, i, match, depth);
            i = next;
            add(list, from, i);
        } else if (isTable(line, i + 1 < lines.length ? of(lines[i + 1]) : "")) {
            i += 2;
            while (i < lines.length && of(lines[i]).includes("|")) i += 1;
            add(table(source, lines.slice(from, i)), from, i);
        } else {
            i += 1;
            while (i < lines.length && !endsParagraph(of(lines[i]))) i += 1;
            add({ kind: "paragraph", lines: lines.slice(from, i).map((pair) => trimmed(source, pair)) }, from, i);
        }
    }
    return found;
}

function endsParagraph(line) {
    const item = ITEM.exec(line);
    return !line.trim() || FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || RULE.test(line)
        || (item !== null && item[0].length < line.length && !/^\s*\d/.test(line)) || /^\s*1[.)] +\S/.test(line);
}

function trimmed(source, [start, end]) {
    while (start < end && source[start] === " ") start += 1;
    return [start, end];
}

/** The list that begins at line i: items until a line that is less indented and no item. */
function listAt(source, lines, i, match, depth) {
    const of = ([start, end]) => source.slice(start, end);
    const ordered = /\d/.test(match[2]);
    const indent = match[1].length;
    const items = [];
    const first = ordered ? Number.parseInt(match[2], 10) : 1;
    while (i < lines.length) {
        const item = ITEM.exec(of(lines[i]));
        if (!item || item[1].length < indent || item[1].length > indent + 1 || /\d/.test(item[2]) !== ordered) break;
        const width = item[0].length;
        const inner = [[lines[i][0] + width, lines[i][1]]];
        i += 1;
        while (i < lines.length) {
            const line = of(lines[i]);
            const deep = line.length - line.trimStart().length;
            if (line.trim() && deep <= indent && (ITEM.test(line) || !of(lines[i - 1]).trim() || endsParagraph(line))) break;
            if (line.trim() && deep <= indent + 1 && ITEM.test(line)) break;
            if (!line.trim() && !belongs(source, lines, i, indent)) break;
            inner.push([lines[i][0] + Math.min(deep, width), lines[i][1]]);
            i += 1;
        }
        items.push(blocks(source, inner, depth + 1));
        const blank = i;
        while (i < lines.length && !of(lines[i]).trim()) i += 1;
        const next = i < lines.length ? ITEM.exec(of(lines[i])) : null;
        if (!next || next[1].length < indent || /\d/.test(next[2]) !== ordered) {
            i = blank;
            break;
        }
    }
    return { list: { kind: "list", ordered, first, items }, next: i };
}

/** Whether what follows blank lines is still part of an item. */
function belongs(source, lines, i, indent) {
    while (i < lines.length && !source.slice(...lines[i]).trim()) i += 1;
    if (i === lines.length) return false;
    const line = source.slice(...lines[i]);
    return line.length - line.trimStart().length > indent + 1;
}
