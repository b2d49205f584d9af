// Numbers as people say them.

const counted = new Intl.NumberFormat("en");

export function count(n, one, many = `${one}s`) {
    return `${counted.format(n)} ${n === 1 ? one : many}`;
}

export function number(n) {
    return counted.format(n);
}

/** Seconds that are left, rounded to what a guess is worth. */
export function timeLeft(seconds) {
    if (!Number.isFinite(seconds)) return "";
    if (seconds < 1.5) return "almost done";
    if (seconds < 10) return `about ${Math.round(seconds)} s left`;
    if (seconds < 55) return `about ${Math.ceil(seconds / 5) * 5} s left`;
    const minutes = Math.round(seconds / 60);
    return minutes < 2 ? "about a minute left" : `about ${minutes} minutes left`;
}

/** A duration that was measured. */
export function duration(seconds) {
    if (seconds < 10) return `${seconds.toFixed(1)} s`;
    if (seconds < 120) return `${Math.round(seconds)} s`;
    return `${Math.round(seconds / 60)} min`;
}

export function bytes(n) {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let at = 0;
    while (n >= 1000 && at < units.length - 1) {
        n /= 1000;
        at += 1;
    }
    return `${at && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[at]}`;
}

/** "Pages iv-v (sheets 6-7) · Costs": where a passage is. */
export function placeOf({ page, label, pages, section }) {
    const parts = [];
    if (pages) parts.push(`P${pages.slice(1)}`);
    else if (label || page) parts.push(`Page ${label || page}`);
    if (section) parts.push(section);
    return parts.join(" · ");
}

export function first(text, n) {
    const whole = text.replace(/\s+/g, " ").trim();
    return whole.length <= n ? whole : `${whole.slice(0, n).replace(/\s+\S*$/, "")} …`;
}
