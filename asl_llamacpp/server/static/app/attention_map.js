// The map beside the scroll bar: where in the document the attention of an answer lay.

import { byId } from "./dom.js";
import { placeOf } from "./words.js";

const FAINTEST = 0.04;

export class AttentionMap {
    /** `scroller` holds what the map is of. */
    constructor(scroller) {
        this.scroller = scroller;
        this.canvas = byId("map");
        this.bins = null;
        this.reader = null;
        this.watch = new ResizeObserver(() => this.draw());
        this.watch.observe(this.canvas);
        scroller.addEventListener("scroll", () => this.request(), { passive: true });
        scroller.addEventListener("filled", () => this.request());
        this.canvas.addEventListener("pointerdown", (event) => {
            this.canvas.setPointerCapture(event.pointerId);
            this.go(event);
        });
        this.canvas.addEventListener("pointermove", (event) => event.buttons && this.go(event));
        matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
    }

    go(event) {
        const box = this.canvas.getBoundingClientRect();
        const at = (event.clientY - box.top) / box.height;
        this.scroller.scrollTop = at * this.scroller.scrollHeight - this.scroller.clientHeight / 2;
    }

    /** `bins` are 0 to 1 along a text of `length`, or null: nothing was asked. `passages` are the marks. */
    show(reader, bins, length, passages) {
        Object.assign(this, { reader, bins, length, passages });
        this.canvas.hidden = !bins?.length;
        if (bins?.length) this.canvas.setAttribute("aria-label", this.describe());
        this.request();
    }

    describe() {
        const places = [...new Set(this.passages.slice(0, 3).map((passage) => placeOf(passage)).filter(Boolean))];
        return `Map of where this answer looked in the document${places.length ? `: most at ${places.join(", ")}` : ""}`;
    }

    request() {
        if (this.drawing) return;
        this.drawing = requestAnimationFrame(() => {
            this.drawing = null;
            this.draw();
        });
    }

    draw() {
        const { canvas, bins, reader } = this;
        const ratio = window.devicePixelRatio || 1;
        const width = Math.round(canvas.clientWidth * ratio);
        const height = Math.round(canvas.clientHeight * ratio);
        if (!bins || !reader || !width || !height) return;
        canvas.width = width;
        canvas.height = height;
        const pen = canvas.getContext("2d");
        const style = getComputedStyle(canvas);
        const whole = Math.max(this.scroller.scrollHeight, 1);
        const y = (offset) => (reader.topOf(offset) / whole) * height;
        pen.fillStyle = style.getPropertyValue("--map-heat");
        const largest = Math.max(...bins, 1e-9);
        const edges = bins.map((_, i) => y((i / bins.length) * this.length));
        edges.push(y(this.length));
        bins.forEach((value, i) => {
            const share = value / largest;
            if (share < FAINTEST) return;
            pen.globalAlpha = Math.min(1, 0.1 + 0.9 * share);
            const long = width * (0.25 + 0.75 * share);
            pen.fillRect(width - long, edges[i], long, Math.max(ratio, edges[i + 1] - edges[i]));
        });
        pen.globalAlpha = 1;
        pen.fillStyle = style.getPropertyValue("--map-tick");
        for (const { start } of this.passages) pen.fillRect(0, y(start) - ratio, 5 * ratio, 2.5 * ratio);
        pen.strokeStyle = style.getPropertyValue("--map-view");
        pen.lineWidth = ratio;
        const top = (this.scroller.scrollTop / whole) * height;
        pen.strokeRect(ratio / 2, top + ratio / 2, width - ratio, Math.max(6, (this.scroller.clientHeight / whole) * height) - ratio);
    }
}
