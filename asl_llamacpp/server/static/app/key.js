// The key of a server that wants one: kept for this tab alone.

import { byId, h } from "./dom.js";

const NAME = "asl:key";
let waiting = null;

export function key() {
    return sessionStorage.getItem(NAME);
}

export function forgetKey() {
    sessionStorage.removeItem(NAME);
}

/** Resolves when a key is there; asks for it, once for all who wait. */
export function wantKey() {
    if (key()) return Promise.resolve();
    waiting ??= new Promise((resolve) => {
        const dialog = byId("key-dialog");
        const field = h("input.field", { id: "key", type: "password", autocomplete: "current-password", required: true });
        const form = h(
            "form.dialog-body",
            {
                onsubmit: (event) => {
                    event.preventDefault();
                    sessionStorage.setItem(NAME, field.value.trim());
                    waiting = null;
                    dialog.close();
                    resolve();
                },
            },
            h("h2", { id: "key-title" }, "This server wants a key"),
            h("p.hint", {}, "Whoever started it gave one with --api-key. It is kept until this tab is closed."),
            h("label.label", { for: "key" }, "Key"),
            field,
            h("div.dialog-actions", {}, h("button.primary", {}, "Go on")),
        );
        dialog.replaceChildren(form);
        dialog.addEventListener("cancel", (event) => event.preventDefault());
        dialog.showModal();
        field.focus();
    });
    return waiting;
}
