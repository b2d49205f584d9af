// Plain text, typeset: paragraphs whose lines were broken at a fixed width flow, all else keeps its lines.

import { linesOf } from "./markdown/blocks.js";

const LONG_LINE = 42;
const LONGEST_HEADING = 72;
const LONGEST_BLOCK = 200; // lines

/** Blocks {kind: "heading"|"flowing"|"kept", indent, start, end} of a text; a blank line ends one. */
export function plainBlocks(source) {
    const found = [];
    let lines = [];
    const flush = () => {
        if (lines.length) found.push(blockOf(source, lines, found.length === 0));
        lines = [];
    };
    for (const line of linesOf(source)) {
        if (!source.slice(...line).trim() || lines.length >= LONGEST_BLOCK) flush();
        if (source.slice(...line).trim()) lines.push(line);
    }
    flush();
    return found;
}

function blockOf(source, lines, isFirst) {
    const texts = lines.map((line) => source.slice(...line));
    const indents = texts.map((text) => text.length - text.trimStart().length);
    const indent = Math.min(...indents);
    const block = { kind: "kept", indent: Math.min(Math.floor(indent / 4), 3), start: lines[0][0], end: lines.at(-1)[1] };
    if (lines.length === 1) {
        const text = texts[0].trim();
        const isHeading = text.length <= LONGEST_HEADING && indent < 3 && /^[\p{Lu}\p{N}“‘"'(]/u.test(text) && !/[.,;:!?]$/.test(text);
        block.kind = isHeading ? "heading" : "flowing";
        block.level = isFirst ? 1 : 3;
    } else {
        const broken = texts.slice(0, -1);
        const flows = broken.reduce((sum, text) => sum + text.trim().length, 0) / broken.length >= LONG_LINE;
        const columns = texts.some((text) => /\S {3,}\S|\t/.test(text.trim()));
        if (flows && !columns && indents.slice(1).every((n) => n <= indents[1] + 1)) block.kind = "flowing";
    }
    return block;
}
