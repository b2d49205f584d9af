// An answer as it grows: blocks that stay the same keep their elements, so that what is selected stays selected.

import { h } from "./dom.js";
import { blocks } from "./markdown/blocks.js";
import { renderBlock } from "./markdown/render.js";

export class AnswerView {
    constructor() {
        this.element = h("div.answer");
        this.sources = [];
    }

    show(text, growing) {
        const parsed = blocks(text);
        const sources = parsed.map((block) => `${block.kind} ${text.slice(block.start, block.end)}`);
        sources.forEach((source, i) => {
            if (this.sources[i] === source) return;
            const element = renderBlock(text, parsed[i]);
            if (this.element.children[i]) this.element.children[i].replaceWith(element);
            else this.element.append(element);
        });
        while (this.element.children.length > parsed.length) this.element.lastElementChild.remove();
        this.sources = sources;
        this.element.classList.toggle("growing", growing);
    }
}
