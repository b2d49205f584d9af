// One page of a PDF: its picture, its words over it to select and to be read aloud, and the marked passages.

import { documentPath, getJson, pictureAddress } from "./api.js";
import { h } from "./dom.js";
import { isAbort } from "./errors.js";

const STEP = 200; // widths that are asked for, in pixels: few, so that pictures can be cached
const LARGEST = 2400;

const measure = document.createElement("canvas").getContext("2d");
measure.font = "100px sans-serif";

export class PicturePage {
    constructor(owner, number, [width, height], { label } = {}) {
        this.owner = owner;
        this.number = number;
        this.size = { width, height };
        this.picture = h("img", { alt: "", draggable: "false" });
        this.words = h("div.words");
        this.marks = h("div.marks");
        this.note = h("p.page-note", { hidden: true });
        this.element = h(
            "section.page",
            { "data-page": number, "aria-label": `Page ${label || number}` },
            this.picture,
            this.marks,
            this.words,
            this.note,
        );
        this.element.style.aspectRatio = `${width} / ${height}`;
        this.cssWidth = 0;
    }

    show() {
        if (this.stop) return;
        this.stop = new AbortController();
        this.loadPicture();
        this.loadWords();
    }

    hide() {
        this.stop?.abort();
        this.stop = null;
        this.release?.();
        this.release = null;
        this.picture.removeAttribute("src");
        this.element.classList.remove("loaded");
        this.loadedWidth = 0;
        this.words.replaceChildren();
    }

    resize(width) {
        this.cssWidth = width;
        if (this.stop && this.wantedWidth() > this.loadedWidth) this.loadPicture();
    }

    wantedWidth() {
        const pixels = this.cssWidth * Math.min(window.devicePixelRatio || 1, 3);
        return Math.min(LARGEST, Math.max(STEP, Math.ceil(pixels / STEP) * STEP));
    }

    async loadPicture() {
        if (!this.cssWidth) return;
        const { signal } = this.stop;
        this.loadedWidth = this.wantedWidth();
        try {
            const path = documentPath(this.owner.id, `/pages/${this.number}.png?width=${this.loadedWidth}`);
            const { address, release } = await pictureAddress(path, signal);
            if (signal.aborted) return release();
            this.release?.();
            this.release = release;
            this.picture.onload = () => this.element.classList.add("loaded");
            this.picture.onerror = () => this.fail("This page cannot be shown. Its text can still be asked about.");
            this.picture.src = address;
        } catch (error) {
            if (!isAbort(error)) this.fail(error.message);
        }
    }

    fail(message) {
        this.note.textContent = message;
        this.note.hidden = false;
    }

    async loadWords() {
        const { signal } = this.stop;
        try {
            const layer = await getJson(documentPath(this.owner.id, `/pages/${this.number}/layer`), { signal });
            if (!signal.aborted) this.words.replaceChildren(...layer.words.map((word) => this.word(word, layer)));
        } catch (error) {
            if (!isAbort(error)) this.words.replaceChildren(); // the picture is there; only selecting is not
        }
    }

    word({ text, rect: [x0, y0, x1, y1] }, { width, height }) {
        const element = h("span", {}, `${text} `);
        const { style } = element;
        style.left = `${(x0 / width) * 100}%`;
        style.top = `${(y0 / height) * 100}%`;
        style.fontSize = `${((y1 - y0) / width) * 100}cqw`;
        const natural = (measure.measureText(text).width * (y1 - y0)) / 100;
        if (natural > 0) style.transform = `scaleX(${(x1 - x0) / natural})`;
        return element;
    }

    /** The marks, {number, rects: [{page, rect}]}, that are on this page. */
    setMarks(marks) {
        const made = [];
        for (const { number, rects } of marks) {
            const here = rects.filter(({ page }) => page === this.number);
            here.forEach(({ rect }, i) => {
                made.push(this.box("span.mark", number, rect));
                if (i === 0 && rects[0] === here[0]) made.push(this.badge(number, rect));
            });
        }
        this.marks.replaceChildren(...made);
    }

    box(what, number, [x0, y0, x1, y1]) {
        const { width, height } = this.size;
        const element = h(what, { "data-passage": number });
        element.style.left = `${(x0 / width) * 100}%`;
        element.style.top = `${(y0 / height) * 100}%`;
        element.style.width = `${((x1 - x0) / width) * 100}%`;
        element.style.height = `${((y1 - y0) / height) * 100}%`;
        return element;
    }

    badge(number, [x0, y0]) {
        const element = h("span.mark-number", { "data-passage": number, "aria-hidden": "true" }, String(number));
        element.style.left = `${(x0 / this.size.width) * 100}%`;
        element.style.top = `${(y0 / this.size.height) * 100}%`;
        return element;
    }
}
