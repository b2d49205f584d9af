// Offsets: the server counts Unicode characters, JavaScript counts UTF-16 units, where some characters are two.

/** A function from the server's offsets in `text` to JavaScript's. */
export function unitsOf(text) {
    if (!/[\ud800-\udbff]/.test(text)) return (offset) => Math.min(offset, text.length);
    const doubles = []; // the offsets, in characters, of those that are two units
    let characters = 0;
    for (const character of text) {
        if (character.length === 2) doubles.push(characters);
        characters += 1;
    }
    return (offset) => {
        let low = 0;
        let high = doubles.length;
        while (low < high) {
            const middle = (low + high) >> 1;
            if (doubles[middle] < offset) low = middle + 1;
            else high = middle;
        }
        return Math.min(offset + low, text.length);
    };
}
