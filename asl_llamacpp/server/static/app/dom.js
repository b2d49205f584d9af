// Elements without any markup in text: what comes from a document, a name or a model can only ever become text.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `what` is a tag with classes, as "button.quiet.round". Of `attributes`, functions are listeners
 * ("onclick"), null and false are left out, true is an attribute without a value. Children: nodes, text, null, lists.
 */
export function h(what, attributes = {}, ...children) {
    const [tag, ...classes] = what.split(".");
    const element = document.createElement(tag);
    if (classes.length) element.className = classes.join(" ");
    for (const [name, value] of Object.entries(attributes)) {
        if (typeof value === "function") element.addEventListener(name.slice(2), value);
        else if (value !== null && value !== undefined && value !== false)
            element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
    return element;
}

/** An SVG element; see `h`. */
export function svg(tag, attributes = {}, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
    element.append(...children);
    return element;
}

/** The element of the page with this id. */
export function byId(id) {
    return document.getElementById(id);
}

let last = 0;

/** An id that no element has, for labels. */
export function newId(stem) {
    last += 1;
    return `${stem}-${last}`;
}

export function reducedMotion() {
    return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
