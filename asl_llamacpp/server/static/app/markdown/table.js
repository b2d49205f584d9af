// Markdown's tables.

const DIVIDER = /^ *\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;

export function isTable(line, next) {
    return line.includes("|") && next.includes("-") && next.includes("|") && DIVIDER.test(next);
}

/** The table of these lines: the first is its head, the second divides. Cells are [start, end) places. */
export function table(source, lines) {
    const rows = lines.map((pair) => cells(source, pair));
    const align = rows[1].map(([start, end]) => {
        const text = source.slice(start, end);
        if (text.endsWith(":")) return text.startsWith(":") ? "center" : "right";
        return "left";
    });
    return { kind: "table", head: rows[0], rows: rows.slice(2), align };
}

function cells(source, [start, end]) {
    while (start < end && source[start] === " ") start += 1;
    while (end > start && source[end - 1] === " ") end -= 1;
    if (source[start] === "|") start += 1;
    if (end > start && source[end - 1] === "|" && source[end - 2] !== "\\") end -= 1;
    const found = [];
    let from = start;
    for (let i = start; i <= end; i += 1) {
        if (i === end || (source[i] === "|" && source[i - 1] !== "\\")) {
            let [a, b] = [from, i];
            while (a < b && source[a] === " ") a += 1;
            while (b > a && source[b - 1] === " ") b -= 1;
            found.push([a, b]);
            from = i + 1;
        }
    }
    return found;
}
