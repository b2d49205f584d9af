// Where questions are typed.

import { byId } from "./dom.js";

export function startComposer(talk, library, settings) {
    const form = byId("composer");
    const field = byId("question");
    const send = byId("send");
    const stop = byId("stop");
    const only = byId("only");

    const grow = () => {
        field.style.height = "auto";
        field.style.height = `${Math.min(field.scrollHeight, 200)}px`;
    };
    const draw = () => {
        const entry = library.open;
        const ready = askable(entry);
        const { asking } = talk;
        send.hidden = asking;
        stop.hidden = !asking;
        send.disabled = !ready || !field.value.trim();
        field.disabled = !entry || entry.status === "failed";
        field.placeholder = placeholder(entry);
        only.checked = settings.onlyFromDocument;
    };
    const submit = () => {
        const question = field.value.trim();
        if (!question || talk.asking || !askable(library.open)) return;
        field.value = "";
        grow();
        talk.ask(question);
        draw();
    };

    form.addEventListener("submit", (event) => {
        event.preventDefault();
        submit();
    });
    field.addEventListener("input", () => {
        grow();
        draw();
    });
    field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        submit();
    });
    stop.addEventListener("click", () => {
        talk.stop();
        field.focus();
    });
    addEventListener("keydown", (event) => {
        if (event.key === "Escape" && talk.asking && !document.querySelector("dialog[open], :popover-open")) talk.stop();
        const typing = event.target.closest?.("input, textarea, select, dialog");
        if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !field.disabled) {
            event.preventDefault();
            field.focus();
        }
    });
    only.addEventListener("change", () => settings.set({ onlyFromDocument: only.checked }));
    settings.addEventListener("change", draw);
    talk.addEventListener("turns", draw);
    talk.addEventListener("turn", draw);
    library.addEventListener("change", draw);
    library.addEventListener("open", draw);
    draw();
    return {
        fill(text) {
            field.value = text;
            grow();
            draw();
            field.focus();
        },
        ask(text) {
            field.value = text;
            submit();
        },
    };
}

/** Whether the server takes a question: one about a document that is still being read waits there. */
export function askable(entry) {
    return entry?.status === "ready" || (entry?.status === "reading" && !entry.sending);
}

function placeholder(entry) {
    if (!entry) return "Add a document first";
    if (entry.status === "failed") return "This document cannot be asked";
    return "Ask about this document …";
}
