// A document as pictures of its pages; those near what is seen are loaded.

import { h, reducedMotion } from "./dom.js";
import { PicturePage } from "./picture_page.js";

const WIDEST = 880;
const MARGIN = 44;
const ZOOMS = [0.5, 0.67, 0.8, 1, 1.25, 1.5, 2, 3];

/** Shows the pages of `document` in `scroller`; `pages` are those of its text, by offsets in JavaScript's units. */
export class PictureReader {
    constructor(scroller, { document, pages }) {
        this.scroller = scroller;
        this.textPages = pages;
        this.zoomAt = ZOOMS.indexOf(1);
        this.pages = document.page_sizes.map((size, i) => new PicturePage(document, i + 1, size, pages[i]));
        this.sheet = h("div.pages", {}, this.pages.map((page) => page.element));
        scroller.replaceChildren(this.sheet);
        this.watcher = new IntersectionObserver(
            (entries) => {
                for (const { target, isIntersecting } of entries) {
                    const page = this.pages[Number(target.dataset.page) - 1];
                    if (isIntersecting) page.show();
                    else page.hide();
                }
            },
            { root: scroller, rootMargin: "150% 0px" },
        );
        this.fit = new ResizeObserver(() => this.resize());
        this.resize();
        for (const page of this.pages) this.watcher.observe(page.element);
        this.fit.observe(scroller);
    }

    destroy() {
        this.watcher.disconnect();
        this.fit.disconnect();
        for (const page of this.pages) page.hide();
    }

    resize() {
        if (!this.scroller.clientWidth) return;
        const margin = this.scroller.clientWidth < 600 ? 16 : MARGIN;
        const width = Math.min(this.scroller.clientWidth - 2 * margin, WIDEST) * ZOOMS[this.zoomAt];
        if (Math.abs(width - (this.width ?? 0)) < 1) return;
        const { scrollTop, scrollHeight } = this.scroller;
        this.width = width;
        this.sheet.style.setProperty("--page-width", `${Math.floor(width)}px`);
        if (scrollTop) this.scroller.scrollTop = (scrollTop / scrollHeight) * this.scroller.scrollHeight;
        for (const page of this.pages) page.resize(width);
        this.scroller.dispatchEvent(new Event("filled"));
    }

    /** Larger or smaller by `steps`; returns the size in percent. */
    zoom(steps) {
        this.zoomAt = Math.max(0, Math.min(ZOOMS.length - 1, this.zoomAt + steps));
        this.resize();
        return Math.round(ZOOMS[this.zoomAt] * 100);
    }

    setMarks(marks, active = null) {
        if (this.marks !== marks) {
            this.marks = marks;
            for (const page of this.pages) page.setMarks(marks);
        }
        for (const element of this.sheet.querySelectorAll(".mark, .mark-number"))
            element.classList.toggle("active", Number(element.dataset.passage) === active);
    }

    reveal({ number = null, start }) {
        const target = this.sheet.querySelector(`.mark[data-passage="${number}"]`);
        if (!target) {
            this.scrollTo(this.topOf(start) - 80);
            return;
        }
        const box = target.getBoundingClientRect();
        const frame = this.scroller.getBoundingClientRect();
        this.scrollTo(this.scroller.scrollTop + box.top - frame.top - frame.height / 3);
    }

    scrollTo(top) {
        const far = Math.abs(top - this.scroller.scrollTop) > 4 * this.scroller.clientHeight;
        this.scroller.scrollTo({ top, behavior: far || reducedMotion() ? "instant" : "smooth" });
    }

    pageAt(offset) {
        let i = 0;
        while (i + 1 < this.textPages.length && this.textPages[i + 1].start <= offset) i += 1;
        return i;
    }

    topOf(offset) {
        const i = this.pageAt(offset);
        const { element } = this.pages[i];
        const { start, end } = this.textPages[i] ?? { start: 0, end: 1 };
        const within = Math.max(0, Math.min(1, (offset - start) / Math.max(1, end - start)));
        return element.offsetTop + within * element.offsetHeight;
    }

    pageNow() {
        const middle = this.scroller.scrollTop + this.scroller.clientHeight / 3;
        const at = this.pages.findIndex(({ element }) => element.offsetTop + element.offsetHeight > middle);
        return at < 0 ? this.pages.length : at + 1;
    }

    goToPage(number) {
        this.scrollTo(this.pages[number - 1].element.offsetTop - 16);
    }
}
