// The left half: the document, its head, and what can be said while there is none to show.

import { AttentionMap } from "./attention_map.js";
import { documentPath, getJson } from "./api.js";
import { unitsOf } from "./code_points.js";
import { byId, h } from "./dom.js";
import { isAbort } from "./errors.js";
import { icon } from "./icons.js";
import { failure } from "./library.js";
import { PictureReader } from "./picture_reader.js";
import { TextReader } from "./text_reader.js";
import { bytes } from "./words.js";

const KINDS = { pdf: "PDF", docx: "Word document", html: "Web page", epub: "E-book", text: "Text" };
const MARKDOWN_NAMES = /\.(md|markdown|mdown|mkd|docx|html?|xhtml|epub)$/i;

/** Events: "mark" (detail: the number of the passage that was pressed in the document). */
export class DocumentPane extends EventTarget {
    constructor(library) {
        super();
        this.library = library;
        this.scroller = byId("document-scroller");
        this.map = new AttentionMap(this.scroller);
        this.shown = null;
        this.reader = null;
        this.evidence = { passages: [], bins: null };
        this.scroller.addEventListener("scroll", () => this.tellPage(), { passive: true });
        this.scroller.addEventListener("filled", () => this.tellPage());
        this.scroller.addEventListener("click", (event) => {
            const mark = event.target.closest("[data-passage]");
            if (mark) this.dispatchEvent(new CustomEvent("mark", { detail: Number(mark.dataset.passage) }));
        });
        byId("zoom-out").addEventListener("click", () => this.reader?.zoom?.(-1));
        byId("zoom-in").addEventListener("click", () => this.reader?.zoom?.(1));
        byId("page-input").addEventListener("change", (event) => this.goToPage(event.target));
        byId("page-form").addEventListener("submit", (event) => {
            event.preventDefault();
            this.goToPage(byId("page-input"));
        });
        library.addEventListener("open", () => this.draw());
        library.addEventListener("change", () => this.draw());
    }

    /** Show the open document, unless it is there already. */
    draw() {
        const entry = this.library.open;
        const key = entry ? `${entry.id} ${entry.status}` : `none ${this.library.loaded}`;
        if (key === this.shown) return;
        this.shown = key;
        this.load?.abort();
        this.reader?.destroy();
        this.reader = null;
        this.map.show(null, null, 0, []);
        this.setHead(entry);
        if (!entry) return;
        this.scroller.scrollTop = 0;
        if (entry.status === "ready") this.open(entry);
        else if (entry.status === "failed") this.say(icon("warning"), "This document could not be read", failure(entry), "alert");
        else this.say(h("span.spinner"), entry.sending ? "Adding the document …" : "Reading the document …", entry.name, "status");
    }

    setHead(entry) {
        const ready = entry?.status === "ready";
        byId("document-title").textContent = entry?.name ?? "Document";
        document.title = entry ? `${entry.name} – Ask your documents` : "Ask your documents";
        byId("document-about").textContent = entry ? aboutOf(entry) : "";
        byId("zoom").hidden = !(ready && entry.has_pictures);
        byId("page-form").hidden = true;
        byId("contents-button").hidden = true;
        const warnings = byId("document-warnings");
        warnings.hidden = !(ready && entry.warnings?.length);
        warnings.replaceChildren();
        if (!warnings.hidden)
            warnings.append(
                h("details", {}, h("summary", {}, icon("warning"), "Not everything could be read"), h("ul", {}, entry.warnings.map((text) => h("li", {}, text)))),
            );
    }

    say(picture, title, text, role) {
        this.scroller.replaceChildren(
            h("div.said", { role }, h("span.said-picture", {}, picture), h("p.said-title", {}, title), h("p.said-text", {}, text)),
        );
    }

    async open(entry) {
        this.load = new AbortController();
        const { signal } = this.load;
        try {
            const { text, pages, sections } = await getJson(documentPath(entry.id, "/text"), { signal });
            if (signal.aborted) return;
            const units = unitsOf(text);
            const inUnits = (place) => ({ ...place, start: units(place.start), end: units(place.end) });
            const given = { text, pages: (pages ?? []).map(inUnits), document: entry };
            given.markdown = MARKDOWN_NAMES.test(entry.name) || ["docx", "html", "epub"].includes(entry.format) || (entry.format !== "pdf" && sections?.length > 0);
            this.units = units;
            this.length = text.length;
            this.reader = entry.has_pictures ? new PictureReader(this.scroller, given) : new TextReader(this.scroller, given);
            this.setContents((sections ?? []).map(inUnits));
            this.tellPage();
            this.paint();
        } catch (error) {
            if (isAbort(error)) return;
            this.say(icon("warning"), "This document cannot be shown", error.message, "alert");
            this.shown = null;
        }
    }

    setContents(sections) {
        byId("contents-button").hidden = sections.length < 2;
        byId("contents-list").replaceChildren(
            ...sections.map(({ title, level, start }) =>
                h("li", {}, h(`button.contents-entry.level-${Math.min(level ?? 1, 4)}`, {
                    type: "button",
                    onclick: () => {
                        byId("contents").hidePopover();
                        this.reader.reveal({ start });
                        this.scroller.focus({ preventScroll: true });
                    },
                }, title)),
            ),
        );
    }

    tellPage() {
        const number = this.reader?.pageNow?.();
        byId("page-form").hidden = !number;
        if (!number) return;
        const input = byId("page-input");
        if (document.activeElement !== input) input.value = String(number);
        byId("page-count").textContent = `of ${this.reader.pages.length}`;
    }

    goToPage(input) {
        const number = Number.parseInt(input.value, 10);
        if (number >= 1 && number <= this.reader.pages.length) this.reader.goToPage(number);
        input.blur();
        this.tellPage();
    }

    /** The passages of an answer, with the server's offsets, and its attention; empty: none is looked at. */
    showEvidence(passages, bins) {
        this.evidence = { passages, bins };
        this.pinned = null;
        this.paint();
    }

    paint() {
        if (!this.reader) return;
        const { passages, bins } = this.evidence;
        this.marks = passages.map((passage) => ({
            ...passage,
            start: this.units(passage.start),
            end: this.units(passage.end),
            rects: passage.rects ?? [],
        }));
        this.reader.setMarks(this.marks);
        this.map.show(this.reader, bins, this.length, this.marks);
    }

    /** Scroll to the best passage where none is in sight. */
    revealBest() {
        if (!this.reader || !this.marks?.length || !this.scroller.clientHeight) return;
        const frame = this.scroller.getBoundingClientRect();
        const inSight = [...this.scroller.querySelectorAll("mark, .mark")].some((element) => {
            const { top, bottom } = element.getBoundingClientRect();
            return bottom > frame.top && top < frame.bottom;
        });
        if (!inSight) this.reader.reveal(this.marks[0]);
    }

    /** Highlight one passage; null: the one that was scrolled to last, if any. */
    point(number) {
        if (this.reader && this.marks) this.reader.setMarks(this.marks, number ?? this.pinned);
    }

    reveal(number) {
        const mark = this.marks?.find((one) => one.number === number);
        if (!mark || !this.reader) return;
        this.pinned = number;
        this.reader.reveal(mark);
        this.point(number);
    }
}

function aboutOf({ format, bytes: size }) {
    return [KINDS[format], bytes(size)].filter(Boolean).join(" · ");
}
