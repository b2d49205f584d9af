// The list of documents, in a panel below the bar.

import { byId, h } from "./dom.js";
import { icon } from "./icons.js";
import { failure } from "./library.js";
import { announce } from "./notices.js";
import { bytes, count } from "./words.js";

export function startLibraryPanel(library, forget) {
    const panel = byId("library");
    const list = byId("library-list");
    const button = byId("library-button");

    const draw = () => {
        byId("library-name").textContent = library.open?.name ?? "Documents";
        button.hidden = !library.documents.length;
        const focused = document.activeElement?.closest?.("[data-document]")?.dataset.document;
        list.replaceChildren(...library.documents.map(item));
        if (focused) list.querySelector(`[data-document="${CSS.escape(focused)}"] button`)?.focus();
    };

    const item = (entry) => {
        const remove = h(
            "button.icon-button",
            { type: "button", "aria-label": `Remove ${entry.name}`, title: "Remove", onclick: () => ask(entry, row) },
            icon("trash"),
        );
        const row = h(
            "li.library-item",
            { "data-document": entry.id },
            h(
                "button.library-choice",
                {
                    type: "button",
                    "aria-current": entry.id === library.openId ? "true" : null,
                    onclick: () => {
                        library.choose(entry.id);
                        panel.hidePopover();
                    },
                },
                icon("document"),
                h("span.library-words", {}, h("span.library-title", {}, entry.name), h(`span.library-about.${entry.status}`, {}, about(entry))),
            ),
            remove,
        );
        return row;
    };

    const ask = (entry, row) => {
        const keep = h("button.quiet", { type: "button", onclick: draw }, "Keep");
        const question = h(
            "div.library-ask",
            { role: "group", "aria-label": `Remove ${entry.name}?` },
            h("span", {}, "Remove it and its conversation?"),
            keep,
            h("button.danger", { type: "button", onclick: () => remove(entry, question) }, "Remove"),
        );
        row.replaceChildren(question);
        keep.focus();
    };

    const remove = async (entry, question) => {
        try {
            await library.remove(entry.id);
            forget(entry.id);
            announce(`${entry.name} was removed`);
        } catch (error) {
            question.append(h("p.error-text", { role: "alert" }, error.message));
        }
    };

    panel.addEventListener("toggle", (event) => {
        button.setAttribute("aria-expanded", String(event.newState === "open"));
        if (event.newState === "open") draw();
    });
    library.addEventListener("change", draw);
    library.addEventListener("open", draw);
    draw();
}

function about(entry) {
    if (entry.sending) return "Being added …";
    if (entry.status === "reading") return "Being read …";
    if (entry.status === "failed") return failure(entry);
    return [entry.n_pages ? count(entry.n_pages, "page") : null, bytes(entry.bytes)].filter(Boolean).join(" · ");
}
