// Files: dropped anywhere, pasted, or chosen.

import { byId } from "./dom.js";

export function startDrop(library) {
    const input = byId("file-input");
    const veil = byId("drop-veil");
    let depth = 0;
    const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
    const end = () => {
        depth = 0;
        veil.classList.remove("shown");
    };

    addEventListener("dragenter", (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        depth += 1;
        veil.classList.add("shown");
    });
    addEventListener("dragover", (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        event.dataTransfer.dropEffect = "copy";
    });
    addEventListener("dragleave", (event) => {
        if (!hasFiles(event)) return;
        depth -= 1;
        if (depth <= 0) end();
    });
    addEventListener("drop", (event) => {
        if (!hasFiles(event)) return;
        event.preventDefault();
        end();
        library.add(event.dataTransfer.files);
    });
    addEventListener("paste", (event) => {
        if (event.clipboardData?.files.length) library.add(event.clipboardData.files);
    });
    input.addEventListener("change", () => {
        library.add(input.files);
        input.value = "";
    });
    document.addEventListener("click", (event) => {
        if (event.target.closest("[data-choose-files]")) input.click();
    });
}
