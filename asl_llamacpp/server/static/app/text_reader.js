// A document as typeset text.

import { h, reducedMotion } from "./dom.js";
import { blocks as markdownBlocks } from "./markdown/blocks.js";
import { renderBlock, renderText } from "./markdown/render.js";
import { plainBlocks } from "./plain_text.js";

const AT_ONCE = 300; // blocks that are made before the browser may paint
const LINE = { characters: 70, height: 28 };

/** Shows {text, pages, sections}, with offsets in JavaScript's units, in `scroller`. */
export class TextReader {
    constructor(scroller, { text, pages, markdown }) {
        this.scroller = scroller;
        this.text = text;
        this.markdown = markdown;
        this.marks = [];
        this.pages = pages.length > 1 ? pages : [];
        this.blocks = markdown ? markdownBlocks(text) : plainBlocks(text);
        this.elements = [];
        this.sheet = h("article.sheet", {});
        scroller.replaceChildren(this.sheet);
        this.gone = false;
        this.fill();
    }

    destroy() {
        this.gone = true;
    }

    fill() {
        if (this.gone) return;
        const until = Math.min(this.elements.length + AT_ONCE, this.blocks.length);
        const made = [];
        while (this.elements.length < until) {
            const i = this.elements.length;
            const page = this.pageBeginning(i);
            if (page) made.push(h("div.page-break", {}, h("span", {}, `Page ${page.label || page.number}`)));
            this.elements.push(this.make(i));
            made.push(this.elements[i]);
        }
        this.sheet.append(...made);
        if (until < this.blocks.length) requestAnimationFrame(() => this.fill());
        else this.scroller.dispatchEvent(new Event("filled"));
    }

    fillAll() {
        while (this.elements.length < this.blocks.length && !this.gone) this.fill();
    }

    /** The page that begins with block i, except the first. */
    pageBeginning(i) {
        const from = i ? this.blocks[i - 1].start : 0;
        return this.pages.find(({ start }) => start > from && start <= this.blocks[i].start && i > 0);
    }

    make(i) {
        const block = this.blocks[i];
        const element = this.markdown ? renderBlock(this.text, block, this.marks) : this.makePlain(block);
        element.classList.add("block");
        const lines = Math.ceil((block.end - block.start) / LINE.characters);
        element.style.containIntrinsicBlockSize = `auto ${lines * LINE.height}px`;
        return element;
    }

    makePlain({ kind, level, indent, start, end }) {
        const words = renderText(this.text, start, end, this.marks);
        if (kind === "heading") return h(`h${level}`, {}, words);
        return h(`p.${kind}${indent ? `.indent-${indent}` : ""}`, {}, words);
    }

    /** Marks {number, start, end}; `active` is the number of the one that is pointed at, or null. */
    setMarks(marks, active = null) {
        const before = this.marks;
        if (before !== marks) {
            this.marks = marks;
            const touched = (block) => (mark) => mark.start < block.end && mark.end > block.start;
            this.elements.forEach((element, i) => {
                const block = this.blocks[i];
                if (!before.some(touched(block)) && !marks.some(touched(block))) return;
                this.elements[i] = this.make(i);
                element.replaceWith(this.elements[i]);
            });
        }
        for (const element of this.sheet.querySelectorAll("mark"))
            element.classList.toggle("active", Number(element.dataset.passage) === active);
    }

    /** Scroll to a mark, or to an offset. */
    reveal({ number = null, start }) {
        this.fillAll();
        const target = () => this.sheet.querySelector(`mark[data-passage="${number}"]`) ?? this.elements[this.blockAt(start)];
        if (!target()) return;
        const far = Math.abs(target().getBoundingClientRect().top) > 3 * this.scroller.clientHeight;
        const go = (behavior) => target().scrollIntoView({ block: "center", inline: "nearest", behavior });
        go(far || reducedMotion() ? "instant" : "smooth");
        // blocks that were never shown had guessed heights
        if (far || reducedMotion()) requestAnimationFrame(() => go("instant"));
        else this.scroller.addEventListener("scrollend", () => Math.abs(target().getBoundingClientRect().top) > this.scroller.clientHeight && go("instant"), { once: true });
    }

    blockAt(offset) {
        let low = 0;
        let high = this.blocks.length - 1;
        while (low < high) {
            const middle = (low + high + 1) >> 1;
            if (this.blocks[middle].start <= offset) low = middle;
            else high = middle - 1;
        }
        return low;
    }

    /** Where an offset is, in pixels from the top of what is scrolled. */
    topOf(offset) {
        const i = this.blockAt(offset);
        const element = this.elements[i];
        if (!element) return this.sheet.scrollHeight;
        const { start, end } = this.blocks[i];
        const within = Math.max(0, Math.min(1, (offset - start) / Math.max(1, end - start)));
        return element.offsetTop + within * element.offsetHeight;
    }

    /** The page at the middle of what is seen, from 1; null without pages. */
    pageNow() {
        if (!this.pages.length) return null;
        const middle = this.scroller.scrollTop + this.scroller.clientHeight / 3;
        let number = 1;
        for (const element of this.sheet.querySelectorAll(".page-break")) {
            if (element.offsetTop > middle) break;
            number += 1;
        }
        return number;
    }

    goToPage(number) {
        this.reveal({ start: this.pages[number - 1].start });
    }
}
