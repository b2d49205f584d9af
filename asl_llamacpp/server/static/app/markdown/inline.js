// Markdown within a paragraph. Every character keeps its place in the source, so that passages can be marked.

/**
 * Text put together from lines: `text`, and `at[i]`, the place of text[i] in the source.
 * `lines` are [start, end) pairs of `source`; between two there is a line end.
 */
export function joined(source, lines) {
    let text = "";
    const at = [];
    lines.forEach(([start, end], i) => {
        if (i) {
            text += "\n";
            at.push(lines[i - 1][1]);
        }
        text += source.slice(start, end);
        for (let place = start; place < end; place += 1) at.push(place);
    });
    return { text, at };
}

const LONGEST = 20000; // characters of a paragraph whose markup is looked for: more is no prose, and may be a trap
const DEEPEST = 16;
const ESCAPED = /[!-/:-@[-`{-~]/;
const WORD = /[\p{L}\p{N}]/u;
const TAGS = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "s" };

/**
 * The pieces of text[from, to): {tag, children} for what is emphasized, {tag: "code"|"a", ...}, {from, to} for text,
 * {tag: "br"}. What is no complete markup is text.
 */
export function inline(text, from = 0, to = text.length, depth = 0) {
    if (to - from > LONGEST || depth > DEEPEST) return [{ from, to }];
    const pieces = [];
    let plain = from;
    let i = from;
    const flush = (end) => {
        if (end > plain) pieces.push({ from: plain, to: end });
    };
    const take = (piece, next) => {
        flush(i);
        pieces.push(piece);
        i = plain = next;
    };
    while (i < to) {
        const found = markupAt(text, i, from, to, depth);
        if (found) take(found.piece, found.next);
        else i += 1;
    }
    flush(to);
    return pieces;
}

function markupAt(text, i, from, to, depth) {
    const c = text[i];
    if (c === "\\" && i + 1 < to && ESCAPED.test(text[i + 1]))
        return { piece: { from: i + 1, to: i + 2 }, next: i + 2 };
    if (c === "\\" && text[i + 1] === "\n") return { piece: { tag: "br" }, next: i + 2 };
    if (c === " " && text.startsWith("  \n", i)) return { piece: { tag: "br" }, next: i + 3 };
    if (c === "`") return code(text, i, to);
    if (c === "*" || c === "_" || c === "~") return emphasis(text, i, from, to, depth);
    if (c === "[" || (c === "!" && text[i + 1] === "[")) return link(text, i, to, depth);
    if (c === "<") return address(text, i, to, /^<((?:https?:\/\/|mailto:)[^\s<>]+)>/, 1);
    if (c === "h" && !WORD.test(text[i - 1] ?? " ")) return address(text, i, to, /^(https?:\/\/[^\s<>()]*[^\s<>().,;:!?'"])/, 0);
    return null;
}

function code(text, i, to) {
    const ticks = /^`+/.exec(text.slice(i, Math.min(to, i + 16)))[0];
    let end = i + ticks.length;
    for (;;) {
        end = text.indexOf(ticks, end);
        if (end < 0 || end + ticks.length > to) return null;
        if (text[end + ticks.length] !== "`" && text[end - 1] !== "`") break;
        end += 1;
    }
    return { piece: { tag: "code", children: [{ from: i + ticks.length, to: end }] }, next: end + ticks.length };
}

function emphasis(text, i, from, to, depth) {
    const c = text[i];
    const mark = text[i + 1] === c ? c + c : c;
    if (mark === "~") return null;
    const start = i + mark.length;
    if (start >= to || /\s/.test(text[start])) return null;
    if (c === "_" && i > from && WORD.test(text[i - 1])) return null;
    for (let end = text.indexOf(mark, start + 1); end >= 0 && end + mark.length <= to; end = text.indexOf(mark, end + 1)) {
        if (/\s/.test(text[end - 1]) || text[end - 1] === "\\") continue;
        if (mark.length === 1 && (text[end + 1] === c || text[end - 1] === c)) {
            end += 1;
            continue;
        }
        if (c === "_" && end + mark.length < to && WORD.test(text[end + mark.length])) continue;
        return { piece: { tag: TAGS[mark], children: inline(text, start, end, depth + 1) }, next: end + mark.length };
    }
    return null;
}

function link(text, i, to, depth) {
    const picture = text[i] === "!";
    const start = picture ? i + 2 : i + 1;
    const found = /^([^[\]\n]*)\]\(\s*<?([^\s()<>]*(?:\([^\s()<>]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\s*\)/.exec(text.slice(start, Math.min(to, start + 2000)));
    if (!found) return null;
    const [whole, label, target] = found;
    const children = inline(text, start, start + label.length, depth + 1);
    const next = start + whole.length;
    if (picture || !/^(https?:\/\/|mailto:)/i.test(target)) return { piece: { tag: "span", children }, next };
    return { piece: { tag: "a", href: target, children }, next };
}

function address(text, i, to, pattern, skip) {
    const found = pattern.exec(text.slice(i, Math.min(to, i + 2000)));
    if (!found) return null;
    const start = i + skip;
    return {
        piece: { tag: "a", href: found[1], children: [{ from: start, to: start + found[1].length }] },
        next: i + found[0].length,
    };
}
