// Conversations, kept in this browser, one for each document. Tabs share them.

const PREFIX = "asl:talk:";

/** This tab, over reloads: a turn that it left unfinished was cut off. */
export const TAB = (() => {
    const known = sessionStorage.getItem("asl:tab");
    const name = known ?? `${Date.now()}-${Math.random().toString(36).slice(2, 8)}`;
    sessionStorage.setItem("asl:tab", name);
    return name;
})();

export function turnsOf(id) {
    try {
        const turns = JSON.parse(localStorage.getItem(PREFIX + id) ?? "[]");
        return Array.isArray(turns) ? turns : [];
    } catch {
        return [];
    }
}

/** Put one turn among the document's; those of other tabs stay. False: this browser has no room left. */
export function keepTurn(id, turn) {
    const turns = turnsOf(id);
    const at = turns.findIndex((one) => one.id === turn.id);
    if (at < 0) turns.push(turn);
    else turns[at] = turn;
    return write(id, turns);
}

export function dropTurn(id, turnId) {
    return write(id, turnsOf(id).filter((one) => one.id !== turnId));
}

export function forgetTurns(id) {
    localStorage.removeItem(PREFIX + id);
}

/** Call `changed(id)` when another tab has written. */
export function watchTurns(changed) {
    addEventListener("storage", ({ key }) => {
        if (key?.startsWith(PREFIX)) changed(key.slice(PREFIX.length));
    });
}

function write(id, turns) {
    try {
        localStorage.setItem(PREFIX + id, JSON.stringify(turns));
        return true;
    } catch {
        return false;
    }
}
