// What a screen reader is told, and notices that everyone sees for a while.

import { byId, h } from "./dom.js";

/** Have a screen reader say this when it is done with what it says. */
export function announce(text) {
    const place = byId("announcements");
    place.textContent = "";
    requestAnimationFrame(() => {
        place.textContent = text;
    });
}

let timer = null;

/** A short notice at the foot of the page. */
export function notice(text) {
    const place = byId("notice");
    place.replaceChildren(h("span", {}, text));
    place.classList.add("shown");
    announce(text);
    clearTimeout(timer);
    timer = setTimeout(() => place.classList.remove("shown"), 4000);
}
