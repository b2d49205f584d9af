// The icons: strokes on a grid of 20 by 20.

import { svg } from "./dom.js";

const PATHS = {
    add: "M10 4v12M4 10h12",
    again: "M15.5 8A6 6 0 1 0 16 11M15.5 4v4h-4",
    back: "M12 4 6 10l6 6",
    check: "M4.5 10.5 8.5 14.5 15.5 6",
    chevron: "m5.5 8 4.5 4.5L14.5 8",
    close: "m5 5 10 10M15 5 5 15",
    contents: "M4 5h12M7 10h9M7 15h9",
    copy: "M7.5 7.5h8v8h-8zM12.5 7.5v-3h-8v8h3",
    document: "M5.5 2.5h6l3.5 3.5v11.5h-9.5zM11.5 2.5V6H15M8 10h4.5M8 13h4.5",
    info: "M10 9.2v4.6M10 6.2v.1M17 10a7 7 0 1 1-14 0 7 7 0 0 1 14 0",
    minus: "M4.5 10h11",
    moon: "M15.8 12.2A6.6 6.6 0 0 1 7.8 4.2a6.6 6.6 0 1 0 8 8",
    send: "M10 16V4.5M5 9.2l5-5 5 5",
    settings: "M3.5 6.5h7M14.5 6.5h2M3.5 13.5h2M9.5 13.5h7M14.5 6.5a2 2 0 1 1-4 0 2 2 0 0 1 4 0M9.5 13.5a2 2 0 1 1-4 0 2 2 0 0 1 4 0",
    stop: "M6.5 5h7A1.5 1.5 0 0 1 15 6.5v7a1.5 1.5 0 0 1-1.5 1.5h-7A1.5 1.5 0 0 1 5 13.5v-7A1.5 1.5 0 0 1 6.5 5",
    sun: "M13.2 10a3.2 3.2 0 1 1-6.4 0 3.2 3.2 0 0 1 6.4 0M10 2.8v1.4M10 15.8v1.4M2.8 10h1.4M15.8 10h1.4M4.9 4.9l1 1M14.1 14.1l1 1M15.1 4.9l-1 1M5.9 14.1l-1 1",
    talk: "M3.5 4.5h13v9h-7l-3.5 3v-3h-2.5z",
    trash: "M4 6h12M8 6V4h4v2M5.5 6l.8 10.5h7.4L14.5 6M8.5 9v4.5M11.5 9v4.5",
    warning: "M10 3.5 17.5 16.5h-15zM10 8.5v3.6M10 14.3v.1",
};

/** A picture that says nothing to a screen reader: what holds it has a name. */
export function icon(name) {
    return svg(
        "svg",
        { class: `icon icon-${name}`, viewBox: "0 0 20 20", "aria-hidden": "true", focusable: "false" },
        svg("path", { d: PATHS[name] }),
    );
}
